"""Every known defect after a load: as many rows in PostgreSQL as the demo manifest says."""

import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa

from memos_assets.catalog import (
    MEMOS,
    TableSpec,
)
from memos_assets.consolidate.loading.dry_run import forecast_file
from memos_assets.consolidate.sources.census import take_census
from memos_assets.consolidate.sources.discover import FoundFile
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.demo import DemoManifest, write_demo
from memos_assets.demo.classes import CLASSES, DEFECTS, Rejected, Treated, WithoutEmbedding
from memos_assets.proof.rows.sources import source_accounted_for, source_unchanged
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.counted import BY_ROWID, COUNTED, RECOMPUTED
from memos_assets_tests.demo.recount import recount


@dataclass(frozen=True)
class World:
    """The demo after one load of all its files, and the content of its files before it."""

    engine: sa.Engine
    folder: Path
    manifest: DemoManifest
    pins: Mapping[str, Pin]
    kept: tuple[FoundFile, ...]
    digests: Mapping[Path, str]
    recounted: dict[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)

    def places(self, name: str) -> list[tuple[Pin, TableSpec, int]]:
        """Return where a class was placed in consolidated tables, and how often."""
        return [
            (pin, spec, count)
            for pin in self.pins.values()
            for spec in pin.kind.tables
            if (count := self.defects(pin, spec).get(name))
        ]

    def count(self, name: str) -> int:
        """Return how many rows of consolidated tables carry a class."""
        return sum(count for _, _, count in self.places(name))

    def defects(self, pin: Pin, spec: TableSpec) -> Mapping[str, int]:
        file = self.manifest.file(str(pin.origin.relative_to(self.folder)))
        return file.tables[spec.origin].defects if spec.origin in file.tables else {}

    def scalar(self, query: str, **values: object) -> int:
        ((count,),) = b.rows(self.engine, query, **values)
        return int(count)

    def loaded_defects(self, pin: Pin, spec: TableSpec) -> Mapping[str, int]:
        """Recount the classes of a table from the file, rejected rows left out."""
        place = pin.source, spec.name
        if place not in self.recounted:
            rejected = b.rows(
                self.engine,
                "select source_rowid from memos_ops.rejects "
                "where source = :source and table_name = :table",
                source=pin.source,
                table=spec.name,
            )
            file = self.manifest.file(str(pin.origin.relative_to(self.folder)))
            self.recounted[place] = recount(
                pin.origin, file, spec.origin, without={rowid for (rowid,) in rejected}
            )
        return self.recounted[place]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def world(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("defects") / "data"
    manifest = write_demo(folder, scale="small", seed=1)
    digests = {path: digest(path) for path in folder.rglob("*.db")}
    files = b.found(folder)
    pins = {
        file.source: b.consolidate(shared_engine, file.path)
        for file in files
        if file.treatment == "consolidate"
    }
    kept = tuple(file for file in files if file.treatment == "keep")
    return World(shared_engine, folder, manifest, pins, kept, digests)


def of(*outcomes: type) -> list[str]:
    return [defect.name for defect in DEFECTS if isinstance(defect.outcome, outcomes)]


@pytest.mark.parametrize("name", of(Rejected))
def test_rows_are_rejected_as_often_as_the_manifest_says(name: str, world: World) -> None:
    outcome = CLASSES[name].outcome
    assert isinstance(outcome, Rejected)
    places = world.places(name)
    assert places
    for pin, spec, count in places:
        found = world.scalar(
            "select count(*) from memos_ops.rejects where source = :source "
            "and table_name = :table and reason = :reason and detail like :detail",
            source=pin.source,
            table=spec.name,
            reason=outcome.reason,
            detail=outcome.detail,
        )
        assert found == count, (pin.source, spec.name)


def reason_in(outcome: WithoutEmbedding, spec: TableSpec) -> str:
    stated = spec.vectors[0].rule == "column"
    return (outcome.where_stated if stated else None) or outcome.reason


@pytest.mark.parametrize("name", of(WithoutEmbedding))
def test_embeddings_are_null_as_often_as_the_manifest_says(name: str, world: World) -> None:
    outcome = CLASSES[name].outcome
    assert isinstance(outcome, WithoutEmbedding)
    places = world.places(name)
    assert places
    for pin, spec, _ in places:
        reason = reason_in(outcome, spec)
        # Classes that have one reason are told apart by the file alone.
        stated = sum(
            count
            for other, count in world.defects(pin, spec).items()
            if isinstance(same := CLASSES[other].outcome, WithoutEmbedding)
            and reason_in(same, spec) == reason
        )
        vector = spec.vectors[0]
        found = world.scalar(
            f"select count(*) from {spec.qualified} where source = :source "
            f"and {vector.reason_name} = :reason and {vector.name} is null",
            source=pin.source,
            reason=reason,
        )
        assert found == stated, (pin.source, spec.name)


def test_nothing_else_is_rejected_or_without_an_embedding(world: World) -> None:
    rejects = world.scalar("select count(*) from memos_ops.rejects")
    assert rejects == sum(world.count(name) for name in of(Rejected))
    nulls = sum(
        world.scalar(f"select count({vector.reason_name}) from {spec.qualified}")
        for spec in MEMOS.tables
        for vector in spec.vectors
    )
    assert nulls == sum(world.count(name) for name in of(WithoutEmbedding))
    recorded = b.rows(
        world.engine,
        "select sum(value::int) from memos_ops.chunks, jsonb_each_text(without_embedding)",
    )
    assert recorded == [(nulls,)]


def test_a_row_with_two_reasons_is_counted_under_the_one_that_costs_more(
    engine: sa.Engine, tmp_path: Path
) -> None:
    rows = [b.memory(1, embedding=None), b.memory(2, embedding=None, attributes="{")]
    pin = b.consolidate(engine, b.write_kind(tmp_path / "data", "semantic_memory", memories=rows))
    counts = "select rows, rejected, without_embedding from memos_ops.chunks"
    assert b.rows(engine, counts) == [(1, 1, {"embedding: missing": 1})]
    assert b.red(engine, pin) == {}


def on_rejected_rows(world: World, name: str, pin: Pin, spec: TableSpec) -> int:
    """Return how many rows with a class are rejected for another: they are not in the table."""
    return world.defects(pin, spec)[name] - world.loaded_defects(pin, spec).get(name, 0)


def rowids_with(pin: Pin, spec: TableSpec, condition: str) -> list[int]:
    with closing(sqlite3.connect(pin.path)) as connection:
        rows = connection.execute(f"select rowid from {spec.origin} where {condition}")
        return [rowid for (rowid,) in rows]


@pytest.mark.parametrize("name", COUNTED)
def test_rows_arrive_as_declared_as_often_as_the_manifest_says(name: str, world: World) -> None:
    places = world.places(name)
    assert {spec.name for _, spec, _ in places} == set(COUNTED[name])
    for pin, spec, count in places:
        condition = BY_ROWID.get(name, "true")
        found = world.scalar(
            f"select {COUNTED[name][spec.name]} from {spec.qualified} t "
            "where t.source = :source and source_rowid = any(:rowids) and :rows > 0",
            source=pin.source,
            rowids=rowids_with(pin, spec, condition),
            rows=pin.rows[spec.origin],
        )
        assert found + on_rejected_rows(world, name, pin, spec) == count, (pin.source, spec.name)


def test_mirrored_links_are_as_many_as_loaded_forward_ones(world: World) -> None:
    ((pin, spec, _),) = world.places("forward_only_edges")
    assert (
        world.scalar("select count(*) from memos.semantic_links where reversed")
        == (world.loaded_defects(pin, spec)["forward_only_edges"])
    )


@pytest.mark.parametrize("name", sorted(RECOMPUTED))
def test_derived_columns_recompute_on_rows_of_every_kind(name: str, world: World) -> None:
    places = world.places(name)
    assert {spec.name for _, spec, _ in places} == {"embeddings"}
    for pin, spec, count in places:
        assert len(rowids_with(pin, spec, RECOMPUTED[name])) == count
    finding = b.findings(world.engine, "embeddings")["v03_derived_columns_recompute"]
    read = finding.evidence["recomputed_rows"], finding.evidence["not_recomputable_rows"]
    assert (finding.passed, finding.evidence["differing_values"]) == (True, 0)
    sources = [pin for pin in world.pins.values() if pin.kind.name == "mixed_precision_embeddings"]
    assert sum(map(int, read)) == sum(pin.rows["embeddings"] for pin in sources)


@pytest.mark.parametrize("kind", ["content_cache", "scratchpad_cache"])
def test_caches_stay_as_they_are_with_all_of_their_known_defects(kind: str, world: World) -> None:
    (file,) = (file for file in world.kept if file.kind and file.kind.name == kind)
    manifest = world.manifest.file(str(file.path.relative_to(world.folder)))
    census = take_census(file.path, ZoneInfo("America/New_York"))
    for name, table in manifest.tables.items():
        assert recount(file.path, manifest, name) == dict(table.defects)
        counted = census[name]
        assert (counted.rows, counted.expired) == (table.rows, table.defects.get("expired_rows"))
        assert counted.unreadable == table.defects.get("unreadable_timestamps", 0)
    assert b.rows(world.engine, "select from memos_ops.sources where kind = :kind", kind=kind) == []


def test_local_times_are_read_in_the_declared_zone(world: World) -> None:
    (file,) = (file for file in world.kept if file.source == "scratchpad_cache")
    census = take_census(file.path, ZoneInfo("America/New_York"))["missions"]
    # The demo's first mission is 50,000.54 s after 2025-12-27 20:00 UTC, 15:00 in New York.
    assert census.oldest == datetime(2025, 12, 28, 9, 53, 20, 541_210, tzinfo=UTC)


def test_no_file_of_the_demo_is_written(world: World) -> None:
    assert {path: digest(path) for path in world.digests} == world.digests


def test_every_class_is_counted_somewhere() -> None:
    in_caches = {"empty_contents", "failed_pages", "questions_as_objects", "expired_rows"}
    in_caches |= {"timestamps_iso_local"}
    treated = set(of(Treated))
    assert treated == {*COUNTED, *RECOMPUTED} | in_caches | {"forward_only_edges"}


def test_the_five_conventions_of_time_are_in_the_demo(world: World) -> None:
    conventions = ("sqlite_utc", "postgresql_utc", "iso_offset", "iso_local", "unix")
    assert all(world.manifest.defects[f"timestamps_{name}"] for name in conventions)


def test_every_check_of_the_demo_passes(world: World) -> None:
    for pin in {pin.kind: pin for pin in world.pins.values()}.values():
        assert b.red(world.engine, pin) == {}
    pins = list(world.pins.values())
    assert source_unchanged(pins).passed
    assert source_accounted_for(pins).passed


def test_a_dry_run_predicts_the_counts_of_a_load(world: World) -> None:
    ledger = {
        (source, table): counts
        for source, table, *counts in b.rows(
            world.engine,
            "select source, table_name, sum(rows)::int, sum(rejected)::int, sum(mirrored)::int "
            "from memos_ops.chunks where source_rows > 0 group by 1, 2",
        )
    }
    predicted = {
        (found.source, found.spec.name): [found.loaded, found.rejects.total(), found.mirrored]
        for file in b.found(world.folder)
        if file.treatment == "consolidate"
        for found in forecast_file(file)
        if found.rows
    }
    assert predicted == ledger
