"""A second application beside memOS: one database, one Dagster location, nothing shared."""

from collections.abc import Mapping
from dataclasses import replace

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import MEMOS, Catalog
from memos_assets.consolidate.sources.discover import find_files
from memos_assets.defs.jobs import FINISH, VERIFY, migrate
from memos_assets.defs.location import location_of
from memos_assets.postgres.schema.consolidated import create_tables, tables_of
from memos_assets.postgres.versions.versions import list_versions
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import checklist, consolidate
from memos_assets.runs.swap import consolidate_and_swap
from memos_assets.search.api import hybrid, match, search
from memos_assets.search.searchable import searchable
from memos_assets_tests.defs.world import QUIET, World, write_templates
from memos_assets_tests.runs.workshop import NOTES, WORKSHOP, vector_of, write_notes

BOTH = (MEMOS, WORKSHOP)
TABLE = searchable("notes", WORKSHOP.searchable)


def consolidated(world: World, catalog: Catalog) -> Consolidation:
    return consolidate(
        world.instance,
        world.engine,
        world.settings,
        catalog,
        world.roots,
        find_files(catalog, world.roots),
    )


def rows_of(world: World, catalog: Catalog) -> Mapping[str, int]:
    with world.engine.connect() as conn:
        return {
            table.name: conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
            for table in tables_of(catalog).tables.values()
        }


def failed(done: Consolidation) -> list[str]:
    return [result.check.label for result in done.checklist if not result.proven]


@pytest.fixture
def workshop(world: World) -> World:
    """A world with files of both applications in one folder, and the tables of both."""
    write_templates(world.data / "meta_buffer.db", range(1, 31))
    write_notes(world.data / "workshop.db")
    with world.engine.begin() as conn:
        create_tables(conn, WORKSHOP)
    return world


def test_both_are_loaded_indexed_proven_and_searched_in_one_database(workshop: World) -> None:
    memos = consolidated(workshop, MEMOS)
    assert memos.proven
    before = rows_of(workshop, MEMOS)
    done = consolidated(workshop, WORKSHOP)

    assert done.failures == []
    # The machine whose note is missing is in the rejects, and waits for a decision.
    assert {result.check.label for result in done.checklist if result.status == "open"} == {"V12"}
    assert done.proven
    assert rows_of(workshop, WORKSHOP) == {"notes": len(NOTES), "machines": 1}
    assert rows_of(workshop, MEMOS) == before
    assert workshop.jobs_of(done) == [
        "workshop_migrate_workshop_notes",
        "workshop_index_check_report",
    ]
    assets = {e.asset for result in done.checklist for e in result.evaluations}
    assert {asset.partition("/")[0] for asset in assets} == {"workshop"}
    assert "workshop/indexes/notes_embedding_768_hnsw" in assets

    with workshop.engine.connect() as conn:
        (nearest, *_) = search(conn, TABLE, vector_of("note-7"), k=3)
        assert nearest.key == {"source": "workshop", "id": "note-7"}
        assert nearest.distance == pytest.approx(0, abs=1e-6)
        assert nearest.metadata == {"hall": len("note-7")}
        assert [hit.key["id"] for hit in match(conn, TABLE, "machine 12", k=1)] == ["note-12"]
        both = hybrid(conn, TABLE, "machine 12", vector_of("note-12"), k=1, owner="workshop")
        assert [hit.key["id"] for hit in both] == ["note-12"]
        filtered = search(conn, TABLE, vector_of("note-7"), k=50, filters={"tags": {"hall": 6}})
        assert {len(hit.key["id"]) for hit in filtered} == {6}
        called = sa.text("select id from workshop.search_notes(cast(:query as public.vector), 1)")
        query = str(vector_of("note-3").tolist())
        assert conn.execute(called, {"query": query}).scalars().all() == ["note-3"]
    # What is proven of memOS is what was proven before.
    again = checklist(workshop.engine, MEMOS)
    assert [result.check.label for result in again if not result.proven] == []
    assert {e.run_id for result in again for e in result.evaluations} <= {*memos.run_ids}


def test_one_location_has_both_and_its_jobs_prove_either(workshop: World) -> None:
    location = location_of(*BOTH)
    alone = location_of(MEMOS).resolve_asset_graph()
    keys = location.resolve_asset_graph().get_all_asset_keys()
    assert alone.get_all_asset_keys() < keys
    added = {key.path[0] for key in keys - alone.get_all_asset_keys()}
    assert added == {"workshop"}

    for catalog in BOTH:
        assert consolidated(workshop, catalog).proven
    for catalog, checks in ((MEMOS, "memos"), (WORKSHOP, "workshop")):
        job = location.resolve_job_def(catalog.names.job(VERIFY))
        result = job.execute_in_process(instance=workshop.instance, run_config=QUIET)
        assert result.success
        evaluated = result.get_asset_check_evaluations()
        assert all(e.passed or e.severity is dg.AssetCheckSeverity.WARN for e in evaluated)
        seen = {e.asset_key.path[0] for e in evaluated}
        assert checks in seen
        assert ("workshop" in seen) == (catalog is WORKSHOP)


def test_a_shadow_of_one_goes_live_and_the_versions_of_the_other_stay(workshop: World) -> None:
    for catalog in BOTH:
        assert consolidated(workshop, catalog).proven
    done = consolidate_and_swap(
        workshop.instance,
        workshop.engine,
        workshop.settings,
        WORKSHOP,
        workshop.roots,
        find_files(WORKSHOP, workshop.roots),
    )
    assert done.failures == []
    assert done.exchange is not None
    assert rows_of(workshop, WORKSHOP) == {"notes": len(NOTES), "machines": 1}
    with workshop.engine.connect() as conn:
        versions = {catalog.schema: list_versions(conn, catalog) for catalog in BOTH}
    assert [v.schema for v in versions["memos"]] in ([], ["memos"])
    assert {v.state for v in versions["workshop"]} == {"live", "previous"}
    assert failed(done) == []
    assert rows_of(workshop, MEMOS)["thought_templates"] == 30


def test_names_of_jobs_are_those_of_memos_behind_a_prefix() -> None:
    (kind,) = WORKSHOP.consolidated
    assert WORKSHOP.names.job(FINISH) == "workshop_index_check_report"
    assert MEMOS.names.job(migrate(kind)) == "migrate_workshop_notes"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": "memos"}, "schema memos"),
        ({"names": AssetNames()}, "prefix memos"),
        ({"kinds": MEMOS.kinds}, "kind of file corpus"),
    ],
    ids=["schema", "names", "kinds"],
)
def test_catalogs_that_cannot_be_told_apart_share_no_location(
    changes: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        location_of(MEMOS, replace(WORKSHOP, **changes))  # type: ignore[arg-type]
