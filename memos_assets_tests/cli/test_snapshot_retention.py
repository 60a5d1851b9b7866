"""The commands snapshots prune and label."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.snapshots import marks
from memos_assets.snapshots.store import open_store
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.snapshots.memories import fill


def test_prune_shows_first_and_deletes_when_told_and_a_label_keeps(
    memos_assets: Command, database: sa.Engine, home: Path
) -> None:
    code, out, err = memos_assets("snapshots", "prune")
    assert (code, out) == (0, f"There is no snapshot in {home / 'snapshots'}.\n")
    assert err == "There is nothing to delete.\n"

    def write() -> str:
        return memos_assets("snapshots", "write")[1].strip()

    empty = write()
    fill(database, 3)
    first = write()
    with database.begin() as conn:
        conn.exec_driver_sql("update agent.links set weight = 0.25")
    newest = write()
    code, out, err = memos_assets("snapshots", "label", empty[:8], "before the [first] day")
    assert (code, out, err) == (
        *(0, f"Snapshot {empty[:12]} is labelled before the [first] day, and kept.\n"),
        "",
    )
    assert "before the [first] day" in memos_assets("snapshots", "list")[1]
    code, out, err = memos_assets("snapshots", "prune")
    assert code == 0
    assert [line.split()[-2:] for line in out.splitlines() if first[:12] in line] == [
        ["not", "kept"]
    ]
    assert "Nothing was deleted: memos-assets snapshots prune --yes." in err
    planned = json.loads(memos_assets("snapshots", "prune", "--json", "-")[1])
    assert (planned["deleted"], planned["dropped"]) == (False, [first])
    kept = {one["id"]: one["because"] for one in planned["kept"]}
    assert kept[empty] == ["label before the [first] day"]
    assert "the newest" in kept[newest]
    store = open_store(str(home / "snapshots"))
    assert len(store.ids()) == 3

    done = json.loads(memos_assets("snapshots", "prune", "--yes", "--json", "-")[1])
    assert (done["deleted"], done["dropped"]) == (True, [first])
    assert set(store.ids()) == {empty, newest}
    assert memos_assets("snapshots", "verify", newest)[0] == 0
    assert set(marks.verified(store)) == {newest}
    assert memos_assets("snapshots", "label", "before the [first] day", "--remove")[0] == 0
    assert memos_assets("snapshots", "prune", "--yes")[0] == 0
    assert store.ids() == [newest]


@pytest.mark.usefixtures("database")
def test_label_without_a_name_and_a_name_that_could_be_an_id_are_refused(
    memos_assets: Command,
) -> None:
    code, _, err = memos_assets("snapshots", "label", "abcdef")
    assert (code, err[:4]) == (2, "M839")
    code, _, err = memos_assets("snapshots", "label", "abcdef", "x", "--remove")
    assert (code, err[:4]) == (2, "M839")
    snapshot = memos_assets("snapshots", "write")[1].strip()
    code, _, err = memos_assets("snapshots", "label", snapshot, "0123abcd")
    assert (code, err[:4]) == (2, "M831")
