"""Retirement as runs: shown by assets, proven by V13, moved into by the command alone."""

import shutil
from pathlib import Path

import pytest

from memos_assets.catalog import MEMOS, Catalog
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.checks import groups_of
from memos_assets.consolidate.archive.confirmation import confirmation_of, retirement_plan
from memos_assets.consolidate.archive.eligibility import Candidate
from memos_assets.consolidate.archive.manifests import entry_named, read_archive
from memos_assets.defs.jobs import ARCHIVE, RETIRE
from memos_assets.defs.keys import Keys
from memos_assets.defs.retirement import look
from memos_assets.defs.schedules import due_keys
from memos_assets.defs.tags import ROOTS_TAG
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import consolidate, verify
from memos_assets.runs.retirement import restore, retire
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import (
    KIND,
    ONE_KIND,
    World,
    failures,
    put_template,
    write_templates,
)

Contents = dict[str, tuple[bytes, int, int]]


def contents(folder: Path) -> Contents:
    """Return every file below a folder: bytes, time of change, mode."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def candidates(
    world: World, catalog: Catalog = ONE_KIND, *, accept: bool = False
) -> list[Candidate]:
    return look(
        world.instance,
        world.engine,
        world.settings,
        catalog,
        world.roots,
        world.files(),
        accept_open_rejects=accept,
    )[0]


def retire_all(world: World, catalog: Catalog = ONE_KIND) -> Consolidation:
    return retire(
        world.instance,
        world.engine,
        world.settings,
        catalog,
        world.roots,
        candidates(world, catalog, accept=True),
        accept_open_rejects=True,
    )


def reasons(world: World, name: str = "meta_buffer") -> list[str]:
    (candidate,) = [one for one in candidates(world) if one.name == name]
    return [unmet.what for unmet in candidate.unmet]


def names(world: World) -> set[str]:
    return {entry.manifest.name for entry in read_archive(world.settings.archive_folder)[0]}


def test_every_sample_is_retired_and_comes_back_byte_for_byte(world: World, samples: Path) -> None:
    shutil.copytree(samples, world.data, dirs_exist_ok=True)
    for path in world.data.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o640)
    shutil.copytree(world.data / "corpuses", world.data / "tests")
    before = contents(world.data)
    assert world.consolidate(MEMOS).proven
    sources = {file.source for file in world.files() if file.treatment == "consolidate"}
    assert retire_all(world, MEMOS).failures == []
    assert {name.rpartition("/")[2] for name in contents(world.data)} == {
        "content_cache.db",
        "scratchpad_cache.db",
    }
    assert names(world) == sources

    with archive.locked(world.settings.archive_folder):
        for entry in read_archive(world.settings.archive_folder)[0]:
            archive.restore(world.engine, entry)
    assert contents(world.data) == before
    assert names(world) == set()
    assert world.rows("select source from memos_ops.sources where retired_to is not null") == []


def test_materialising_everything_moves_nothing_and_shows_what_was_moved(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2])
    path = world.data / "meta_buffer.db"
    result = world.run(ARCHIVE)
    assert result.success
    shown = {
        event.asset_key: event.materialization.metadata["files"].value
        for event in result.get_asset_materialization_events()
    }
    assert shown == {Keys(MEMOS.names).archive(group): 0 for group in groups_of(MEMOS)}
    assert path.exists()

    moved = retire_all(world)
    assert moved.failures == []
    assert not path.exists()
    events = [event for run in moved.run_ids for event in world.instance.all_logs(run)]
    (files,) = [
        event.dagster_event.step_materialization_data.materialization.metadata
        for event in events
        if event.dagster_event is not None
        and event.dagster_event.is_step_materialization
        and event.dagster_event.asset_key == Keys(MEMOS.names).archive("meta_buffer")
    ]
    assert (files["files"].value, files["rows"].value) == (1, 2)


def config(world: World, **values: object) -> dict[str, object]:
    """Return the configuration of a run as a dry run of this state gives it."""
    ready = candidates(world, accept=True)
    plan = retirement_plan(ready, world.settings.archive_folder, accept_open_rejects=True)
    given = {
        "data": [str(world.data)],
        "names": ["meta_buffer"],
        "accept_open_rejects": True,
        "confirmation": confirmation_of(world.engine, plan),
    }
    return {"retire": {"config": given | values}}


def test_a_run_moves_only_what_a_dry_run_of_the_same_state_confirmed(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1, 2])
    path = world.data / "meta_buffer.db"
    for tag in ("memos/retire", "memos/accept_open_rejects"):
        tags = {tag: f"meta_buffer={path}", ROOTS_TAG: str(world.data.resolve())}
        assert failures(world.run(ARCHIVE, tags=tags))[0].startswith(
            f"M587 tag {tag}: a tag moves nothing: "
        )
        assert failures(world.run(RETIRE, tags=tags))[0].startswith("M587 retire: ")
    first = config(world)
    for stale in (
        config(world, confirmation="0" * 32),
        config(world, accept_open_rejects=False),
        config(world, names=[], data=[str(world.data / "meta_buffer.db")], confirmation=""),
    ):
        (said,) = failures(world.run(RETIRE, ops=stale))
        assert said.startswith(("M588 retire: ", "M587 retire: "))
    assert path.exists()
    put_template(path, "t3")
    (said,) = failures(world.run(RETIRE, ops=first))
    assert said.startswith("M588 retire: the confirmation is not of what would be done now")
    assert "not ready: meta_buffer: it holds other rows than were loaded. Fix: " in said
    assert (path.exists(), names(world)) == (True, set())

    assert world.consolidate().proven
    second = config(world)
    assert failures(world.run(RETIRE, ops=second)) == []
    assert (path.exists(), names(world)) == (False, {"meta_buffer"})
    # The same files at the same place, but the confirmation was used.
    restore(world.instance, world.engine, world.settings, ONE_KIND, "meta_buffer")
    (said,) = failures(world.run(RETIRE, ops=second))
    assert said.startswith("M588 retire: the confirmation is not of what would be done now, or was")
    assert path.exists()
    assert second != config(world)


def test_a_run_registers_nothing_from_a_folder_that_only_its_tag_names(
    consolidated: Consolidated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated([1])
    write_templates(tmp_path / "planted" / "planted.db", [1])
    tags = {ROOTS_TAG: str(tmp_path / "planted")}
    (said,) = failures(world.run(f"observe_{KIND.name}", tags=tags))
    assert said.startswith("M589 run: the tag memos/data names ")
    assert world.rows("select source from memos_ops.sources") == [("meta_buffer",)]
    monkeypatch.setenv("MEMOS_DATA", str(tmp_path))
    assert world.run(f"observe_{KIND.name}", tags=tags).success
    assert len(world.rows("select source from memos_ops.sources")) == 2


def test_a_source_is_ready_only_while_its_checks_are_of_what_is_loaded(world: World) -> None:
    path = world.data / "meta_buffer.db"
    write_templates(path, [1])
    world.observe()
    assert "1 of its chunks are not loaded as it holds them" in reasons(world)
    assert "V01 on memos/thought_templates was never checked" in reasons(world)
    world.consolidate()
    assert reasons(world) == []

    # Loaded again without being checked again.
    put_template(path, "t2")
    world.observe()
    assert world.run("migrate_meta_buffer", partition_key="meta_buffer/000").success
    stale = reasons(world)
    assert "V02 on memos/thought_templates was checked before the last load or pin" in stale
    assert verify(world.instance, world.engine, ONE_KIND).proven
    assert reasons(world) == []

    world.execute("update memos.thought_templates set query_pattern = 'other'")
    verify(world.instance, world.engine, ONE_KIND)
    assert [what for what in reasons(world) if what.startswith("V02")] != []


def test_a_retired_or_lost_file_does_not_stop_the_others_of_its_kind(world: World) -> None:
    for rowid, name in enumerate(("meta_buffer", "lost", "other"), start=5):
        write_templates(world.data / f"{name}.db", [rowid])
    assert world.consolidate().proven
    asked = [one for one in candidates(world) if one.name == "meta_buffer"]
    done = retire(world.instance, world.engine, world.settings, ONE_KIND, world.roots, asked)
    assert done.failures == []
    (world.data / "lost.db").unlink()
    assert due_keys(world.instance, MEMOS, KIND)[0] == []
    events = world.run(f"observe_{KIND.name}").get_asset_observation_events()
    observed = {event.asset_observation_data.asset_observation.partition for event in events}
    assert observed == {"lost/000", "meta_buffer/000", "other/000"}
    put_template(world.data / "other.db", "t2")
    assert due_keys(world.instance, MEMOS, KIND)[0] == ["other/000"]

    done = world.consolidate()
    assert done.failures == []
    (red,) = [outcome for outcome in done.checklist if not outcome.proven]
    assert red.check.label == "V08"
    assert red.failed[0].observed.startswith("lost: cannot be read")

    # What is retired is loaded again from its pin.
    world.execute("delete from memos.thought_templates where source = 'meta_buffer'")
    assert (
        consolidate(
            world.instance, world.engine, world.settings, ONE_KIND, world.roots, world.files()
        ).stale_chunks
        == 1
    )
    assert world.rows("select count(*) from memos.thought_templates") == [(4,)]


def test_v13_archived_files_are_whole_fails_in_the_ui_when_an_archived_file_is_cut_short(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1])
    retire_all(world)
    entry = entry_named(world.settings.archive_folder, "meta_buffer")
    with entry.file.open("r+b") as file:
        file.truncate(4096)
    done = verify(world.instance, world.engine, ONE_KIND)
    (red,) = [one for one in done.checklist if one.check.label == "V13"]
    assert [failed.asset for failed in red.failed] == ["archive/meta_buffer"]
    assert "does not have the bytes that were retired" in red.failed[0].observed


def test_a_restoration_that_a_crash_interrupted_is_finished_by_the_next(
    consolidated: Consolidated, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = consolidated([1])
    path = world.data / "meta_buffer.db"
    retire_all(world)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(archive, "discard", crash)
        with pytest.raises(KeyboardInterrupt):
            restore(world.instance, world.engine, world.settings, ONE_KIND, "meta_buffer")
    entry, said = restore(world.instance, world.engine, world.settings, ONE_KIND, "meta_buffer")
    assert entry is None
    assert said == ["meta_buffer is restored; a run that was interrupted had moved it"]
    assert path.exists()
