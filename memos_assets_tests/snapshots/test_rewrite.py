"""Snapshots of which an erased user is taken out, interrupted at every step."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres.connection import database_identity
from memos_assets.postgres.user_rows import user_digest
from memos_assets.snapshots.reader import batches, check_files
from memos_assets.snapshots.rewrite import find_erased, find_user, take_out
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill

ANN, BOB = "ann", "bob"
_BOB = """
insert into agent.spaces (name, owner, private) values ('private:bob', 'bob', true);
insert into agent.memories (id, space_id, user_id, kind, content, content_digest, words, source)
select md5('bob' || n)::uuid, (select id from agent.spaces where name = case n % 2
    when 0 then 'private:bob' else 'team' end), 'bob', 'finding', 'Bob says ' || n,
    md5('bob' || n), 3, 'user:bob' from generate_series(1, 6) n;
insert into agent.provenance select a.number, b.number, a.space_id from agent.memories a,
    agent.memories b where a.content = 'Fact 1 früh' and b.content = 'Bob says 1';
insert into agent.links select a.number, b.number, 'semantic', 0, 0.9, true, a.space_id, b.space_id
    from agent.memories a, agent.memories b where a.content = 'Fact 2 früh'
    and b.content = 'Bob says 2';
"""


@pytest.fixture
def store(engine: sa.Engine, tmp_path: Path) -> Store:
    """Write three snapshots: without Bob, with him, and with one more memory of his."""
    fill(engine, 20)
    store = open_store(str(tmp_path / "snapshots"))
    write_snapshot(engine, store, label="before")
    with engine.begin() as conn:
        conn.exec_driver_sql(_BOB.replace("%", "%%"))
    write_snapshot(engine, store, partition="2026-11-26")
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "update agent.memories set content = 'else' where content like 'Bob%%'"
        )
    write_snapshot(engine, store, label="after")
    return store


@pytest.fixture
def database(engine: sa.Engine) -> str:
    """Return whose snapshots they are."""
    with engine.connect() as conn:
        return database_identity(conn)


def values(store: Store, snapshot: str, table: str, column: str) -> list[object]:
    entry = store.manifest(snapshot).entry(table)
    assert entry is not None
    return [
        value for batch in batches(store, entry, columns=[column]) for value in batch[0].to_pylist()
    ]


def test_rows_of_others_stay_and_what_was_derived_is_wrong(store: Store, database: str) -> None:
    before, second, third = store.manifests()
    at = datetime.now(UTC)
    done = take_out(store, {user_digest(BOB): at}, database=database)

    assert [one.id for one in done.rewritten] == [second.id, third.id]
    assert done.failed == []
    # Both become the same: they differed by what Bob said.
    assert {one.into for one in done.rewritten} == {done.rewritten[0].into}
    first, after = store.manifests()
    assert first == before
    assert (after.partition, after.label, after.parent) == ("2026-11-26", "after", before.id)
    assert [one.made_at for one in after.moments] == [second.made_at, third.made_at]
    assert values(store, after.id, "agent.memories", "user_id") == [ANN] * 20
    assert values(store, after.id, "agent.spaces", "owner") == [ANN]
    assert len(values(store, after.id, "agent.links", "a")) == 19
    assert values(store, after.id, "agent.provenance", "memory") == []
    retracted = values(store, after.id, "agent.memories", "retracted_at")
    assert [value for value in retracted if value is not None] == [at]
    assert values(store, after.id, "agent.revisions", "action") == ["retract"]
    # What others said of theirs is the file that it was.
    for entry in before.tables:
        if entry.qualified not in ("agent.memories", "agent.revisions"):
            assert after.entry(entry.qualified) == entry
    kept = {entry.file for one in (first, after) for entry in one.tables}
    assert set(store.names("tables")) == kept


def test_a_user_who_came_back_is_rightly_in_later_snapshots(store: Store) -> None:
    _, second, third = store.manifests()
    between = datetime.fromisoformat(second.made_at)
    found = find_erased(store, {user_digest(BOB): between})
    assert {one.snapshot for one in found} == {second.id}
    assert set(find_user(store, BOB)) == {second.id, third.id}
    assert find_erased(store, {user_digest("bo"): datetime.now(UTC)}) == []


class Interrupted(BaseException):
    """As a signal would end a process."""


class FragileStore(Store):
    """A store whose process ends before one of its changes to files."""

    left = 0

    def _step(self) -> None:
        if not type(self).left:
            raise Interrupted
        type(self).left -= 1

    def publish(self, partial: str, name: str) -> None:
        """Move a file, or end."""
        self._step()
        super().publish(partial, name)

    def delete(self, name: str) -> None:
        """Delete a file, or end; what was never moved goes with its process."""
        if not name.startswith("partial/"):
            self._step()
        super().delete(name)


def test_it_is_finished_wherever_it_was_interrupted(
    store: Store, database: str, tmp_path: Path
) -> None:
    erased = {user_digest(BOB): datetime.now(UTC)}
    whole = _copied(store, tmp_path / "whole")
    take_out(whole, erased, database=database)
    expected = _content(whole)
    steps = 0
    while True:
        copy = _copied(store, tmp_path / f"at {steps}")
        FragileStore.left = steps
        try:
            take_out(FragileStore(copy.filesystem, copy.root, copy.url), erased, database=database)
        except Interrupted:
            _reads_whole(copy)
            done = take_out(copy, erased, database=database)
            assert done.failed == []
            assert _content(copy) == expected
            assert {one.id: one.into for one in copy.rewritten()} == {
                one.id: one.into for one in whole.rewritten()
            }
            shutil.rmtree(copy.root)
            steps += 1
        else:
            break
    assert steps > 10


def _copied(store: Store, path: Path) -> Store:
    assert store.local is not None
    shutil.copytree(store.local, path)
    return open_store(str(path))


def _content(store: Store) -> tuple[list[str], list[object]]:
    names = [name for name in store.names("") if not name.startswith("rewritten/")]
    return names, [manifest.to_json() for manifest in store.manifests()]


def _reads_whole(store: Store) -> None:
    """Assert that what is listed as a snapshot is one, whatever was interrupted."""
    for manifest in store.manifests():
        assert check_files(store, manifest) == []


def test_what_a_killed_write_left_goes_unless_another_database_may_be_writing_it(
    store: Store, database: str
) -> None:
    known = store.names("tables")
    orphan = "tables/agent.memories/" + "0" * 64 + ".parquet"
    for mine, left in ((f"{database} of others", [orphan, *known]), (database, known)):
        store.write(orphan, b"rows of somebody")
        take_out(store, {}, database=mine)
        assert sorted(store.names("tables")) == sorted(left)


def test_a_damaged_snapshot_is_named_and_the_others_are_done(store: Store, database: str) -> None:
    _, second, third = store.manifests()
    entry = third.entry("agent.memories")
    assert entry is not None
    with _truncated(store, entry.file):
        done = take_out(store, {user_digest(BOB): datetime.now(UTC)}, database=database)
        assert [one.id for one in done.rewritten] == [second.id]
        (error,) = done.failed
        assert (error.code, "M807" in str(error), third.id[:12] in str(error)) == (
            "M840",
            True,
            True,
        )
        with pytest.raises(SnapshotError, match=r"^M807 "):
            find_user(store, BOB)
    done = take_out(store, {user_digest(BOB): datetime.now(UTC)}, database=database)
    assert ([one.id for one in done.rewritten], done.failed) == ([third.id], [])


@contextmanager
def _truncated(store: Store, name: str) -> Iterator[None]:
    content = store.read(name)
    store.write(name, content[:-100])
    yield
    store.write(name, content)
