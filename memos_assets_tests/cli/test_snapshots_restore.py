"""The command snapshots restore: it plans, restores, forks, and says how to take it back."""

import json

import sqlalchemy as sa

from memos_assets.memory import SyncMemory
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import load_settings
from memos_assets_tests.cli.conftest import Command


def remember(engine: sa.Engine, *texts: str) -> None:
    embedder = DeterministicEmbedder(64)
    ensure_registered(engine, embedder)
    settings = load_settings()
    memory = SyncMemory(settings, embedder=embedder)
    with open_sync_memory_sessions(settings) as sessions, sessions.begin() as session:
        memory.act_as(session, user="ann")
        memory.remember(session, memory.prepare_many(list(texts)))


def test_restore_plans_restores_and_forks(memos_assets: Command, database: sa.Engine) -> None:
    remember(database, "Ann has a boat")
    first = memos_assets("snapshots", "write")[1].strip()
    remember(database, "Ann has a car")

    code, out, err = memos_assets("snapshots", "restore", first)
    assert code == 0
    (line,) = (row.split() for row in out.splitlines() if "agent.memories" in row)
    assert line == ["agent.memories", "0", "1", "0"]
    assert "Nothing was changed. --mode exact --yes restores." in err
    planned = json.loads(memos_assets("snapshots", "restore", first, "--json", "-")[1])
    assert planned["tables"]["agent.memories"] == {"added": 0, "removed": 1, "changed": 0}
    # Without --yes nothing live changes.
    assert (
        "Nothing was changed" in memos_assets("snapshots", "restore", first, "--mode", "exact")[2]
    )
    second = memos_assets("snapshots", "write")[1].strip()
    assert second != first

    code, out, err = memos_assets("snapshots", "restore", first, "--mode", "exact", "--yes")
    assert (code, out.startswith(f"Restored {first[:12]}: ")) == (0, True)
    assert f"What was live is snapshot {second[:12]}" in err
    assert memos_assets("snapshots", "write")[1].strip() == first
    code, out, _ = memos_assets("snapshots", "restore", first, "--mode", "exact", "--yes")
    assert (code, out) == (
        0,
        "The database is what the snapshot says; nothing was changed.\n",
    )

    rows = ("--mode", "rows", "--table", "agent.memories", "--key", "2")
    planned = json.loads(memos_assets("snapshots", "restore", second, *rows, "--json", "-")[1])
    assert planned["tables"]["agent.memories"] == {"added": 1, "removed": 0, "changed": 0}
    assert "agent.spaces" not in planned["tables"], "it plans these rows alone"
    assert memos_assets("snapshots", "write")[1].strip() == first
    code, out, _ = memos_assets("snapshots", "restore", second, *rows, "--yes")
    (line,) = (row.split() for row in out.splitlines() if "agent.memories" in row)
    assert (code, line) == (0, ["agent.memories", "1", "0", "0"])
    assert memos_assets("snapshots", "write")[1].strip() == second

    again = memos_assets("snapshots", "restore", second, *rows, "--yes", "--json", "-")[1]
    assert json.loads(again)["tables"]["agent.memories"]["added"] == 0

    forked = ("--mode", "fork", "--schema", "tuesday", "--json", "-")
    made = json.loads(memos_assets("snapshots", "restore", first, *forked)[1])
    assert made["schema"] == "tuesday"
    with database.connect() as conn:
        assert conn.exec_driver_sql("select count(*) from tuesday.memories").scalar_one() == 1


def test_options_that_do_not_go_together(memos_assets: Command, database: sa.Engine) -> None:
    assert database
    for options in (
        ("--mode", "rows"),
        ("--mode", "fork"),
        ("--table", "agent.memories"),
        ("--schema", "tuesday"),
    ):
        code, _, err = memos_assets("snapshots", "restore", "abcdef", *options)
        assert (code, err.startswith("M826 ")) == (2, True)
