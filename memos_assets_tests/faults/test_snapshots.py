"""One kill of a write and one of an erasure, and a judge that sees what is wrong."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from bench.world import World, opened_world
from faults import snapshots
from faults.snapshots import PLACES, SnapshotFaults, sheet_of


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with opened_world("small") as opened:
        yield opened


def test_a_killed_write_and_a_killed_erasure_leave_nothing_half_done(world: World) -> None:
    faults = SnapshotFaults(world)
    faults.run((("write", "file"), ("erase", "old files")))
    assert faults.faults == []
    assert [(one.command, one.live, one.leftovers) for one in faults.kills] == [
        ("write", "before", 0),
        ("erase", "after", 0),
    ]
    assert "| erase " in sheet_of(faults).markdown()


def test_what_is_wrong_is_seen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # A place that no write reaches, and tables that somebody else changes meanwhile.
    monkeypatch.setitem(
        PLACES, "write", {"never": "memos_assets.snapshots.store:Store.put_rewritten:1"}
    )
    digests = snapshots._digests
    monkeypatch.setattr(snapshots, "_digests", lambda conn: digests(_changed(conn)))
    faults = SnapshotFaults(world)
    faults.run((("write", "never"),))
    assert [one.live for one in faults.kills] == ["half"]
    assert faults.faults[0].startswith("write, never: not killed, but exit code 0")
    assert faults.faults[1] == "write, never: live tables are neither as before nor as after"


def _changed(conn: sa.Connection) -> sa.Connection:
    conn.exec_driver_sql("update agent.spaces set name = name || 'x'")
    conn.commit()
    return conn
