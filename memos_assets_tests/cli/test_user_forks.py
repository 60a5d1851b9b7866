"""The erasure of a user reaches forks of snapshots: those that name the user are dropped."""

import json
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.postgres.forks import forks
from memos_assets.settings import load_settings
from memos_assets.snapshots.restore.fork import fork
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.memory.walled import act, add_memory, add_space

BOB, ANN = "bob-4711@example.org", "ann-0815@example.org"


def forked(database: sa.Engine) -> None:
    """Make a fork of a snapshot with Ann alone, and one with Bob, too."""
    store = open_store(load_settings().snapshots_location)
    for user, schema in ((ANN, "without_bob"), (BOB, "tuesday")):
        with Session(database) as session, session.begin():
            act(session, user)
            space = add_space(session, user, f"private:{user}")
            add_memory(session, space, user, f"canary of the forks, said by {user}")
        fork(database, store, write_snapshot(database, store).manifest, schema)


def test_forks_that_name_the_user_are_dropped_and_nothing_of_them_is_found(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    forked(database)
    _, out, _ = memos_assets("user", "erase", BOB)
    (line,) = (row.split() for row in out.splitlines() if "fork" in row)
    assert line[:4] == ["fork", "tuesday,", "dropped", "whole"]
    with database.connect() as conn:
        assert list(forks(conn)) == ["tuesday", "without_bob"]

    outcome = tmp_path / "outcome.json"
    code, out, err = memos_assets("user", "erase", BOB, "--yes", "--json", str(outcome))
    assert (code, err, "fork tuesday, dropped whole" in out) == (0, "", True)
    said = json.loads(outcome.read_text())
    assert (said["found"], said["counts"]["fork tuesday, dropped whole"]) == ({}, int(line[4]))
    with database.connect() as conn:
        assert list(forks(conn)) == ["without_bob"]
        assert conn.exec_driver_sql("select count(*) from without_bob.memories").scalar_one() == 1


def test_a_user_who_is_in_a_fork_alone_is_erased_there(
    memos_assets: Command, database: sa.Engine
) -> None:
    forked(database)
    assert memos_assets("user", "erase", BOB, "--yes")[0] == 0
    # As a fork that somebody made of a copy of the store, or wrote to since.
    with database.begin() as conn:
        conn.exec_driver_sql(
            "update without_bob.memories set source = %(of)s", {"of": f"user:{BOB}"}
        )
    assert memos_assets("user", "erase", BOB, "--yes")[0] == 0
    with database.connect() as conn:
        assert forks(conn) == {}
    assert memos_assets("user", "erase", BOB, "--yes")[2].startswith("M771")
