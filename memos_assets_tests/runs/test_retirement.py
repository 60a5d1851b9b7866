"""Retirement as runs: shown by assets, proven by V13, moved into by the command alone."""

import shutil
from pathlib import Path

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.checks import groups_of
from memos_assets.consolidate.archive.eligibility import Candidate
from memos_assets.consolidate.archive.manifests import entry_named, read_archive
from memos_assets.defs.jobs import ARCHIVE
from memos_assets.defs.keys import Keys
from memos_assets.defs.schedules import due_keys
from memos_assets.defs.tags import RETIRE_TAG, ROOTS_TAG
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import consolidate, verify
from memos_assets.runs.retirement import look, restore, retire
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import KIND, World, failures, put_template, write_templates

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


def candidates(world: World, *, accept: bool = False) -> list[Candidate]:
    return look(
        world.instance,
        world.engine,
        world.settings,
        MEMOS,
        world.roots,
        world.files(),
        accept_open_rejects=accept,
    )[0]


def retire_all(world: World) -> Consolidation:
    return retire(
        world.instance,
        MEMOS,
        world.roots,
        candidates(world, accept=True),
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
    assert world.consolidate().proven
    sources = {file.source for file in world.files() if file.treatment == "consolidate"}
    assert retire_all(world).failures == []
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


def test_materialising_everything_or_executing_a_retirement_again_moves_nothing(
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

    tags = {RETIRE_TAG: f"meta_buffer={path}", ROOTS_TAG: str(world.data.resolve())}
    moved = world.run(ARCHIVE, tags=tags)
    assert failures(moved) == []
    assert not path.exists()
    (metadata,) = [
        event.materialization.metadata
        for event in moved.get_asset_materialization_events()
        if event.asset_key == Keys(MEMOS.names).archive("meta_buffer")
    ]
    assert (metadata["files"].value, metadata["rows"].value) == (1, 2)
    assert [e.passed for e in moved.get_asset_check_evaluations()] == [True] * len(groups_of(MEMOS))

    restore(world.instance, world.engine, world.settings, MEMOS, "meta_buffer")
    again = {**tags, "dagster/parent_run_id": moved.run_id, "dagster/root_run_id": moved.run_id}
    run = world.instance.get_run_by_id(moved.run_id)
    assert run is not None
    from memos_assets.defs.assets.archive import _asked_for

    assert _asked_for(run) == {path}
    assert _asked_for(run._replace(parent_run_id=moved.run_id, tags=again)) == set()
    assert path.exists()


def test_a_file_that_changed_since_it_was_judged_stays_and_the_run_says_why(
    consolidated: Consolidated,
) -> None:
    world = consolidated([1])
    path = world.data / "meta_buffer.db"
    put_template(path, "t2")
    tags = {RETIRE_TAG: f"meta_buffer={path}", ROOTS_TAG: str(world.data.resolve())}
    (said,) = failures(world.run(ARCHIVE, tags=tags))
    assert said.startswith(f"M110 {path}: not retired: it holds other rows than were loaded. Fix: ")
    assert path.exists()


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
    assert verify(world.instance, world.engine, MEMOS).proven
    assert reasons(world) == []

    world.execute("update memos.thought_templates set query_pattern = 'other'")
    verify(world.instance, world.engine, MEMOS)
    assert [what for what in reasons(world) if what.startswith("V02")] != []


def test_a_retired_or_lost_file_does_not_stop_the_others_of_its_kind(world: World) -> None:
    for name in ("meta_buffer", "lost", "other"):
        write_templates(world.data / f"{name}.db", [1])
    assert world.consolidate().proven
    asked = [one for one in candidates(world) if one.name == "meta_buffer"]
    assert retire(world.instance, MEMOS, world.roots, asked).failures == []
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
            world.instance, world.engine, world.settings, MEMOS, world.roots, world.files()
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
    done = verify(world.instance, world.engine, MEMOS)
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
            restore(world.instance, world.engine, world.settings, MEMOS, "meta_buffer")
    entry, said = restore(world.instance, world.engine, world.settings, MEMOS, "meta_buffer")
    assert entry is None
    assert said == ["meta_buffer is restored; a run that was interrupted had moved it"]
    assert path.exists()
