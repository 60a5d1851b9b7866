"""The commands snapshots write, list, show and verify."""

import json
from pathlib import Path

import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.snapshots.memories import fill


def test_a_snapshot_is_written_listed_shown_and_verified(
    memos_assets: Command, database: sa.Engine, home: Path
) -> None:
    fill(database, 5)
    code, out, err = memos_assets("snapshots", "list")
    assert (code, out, err) == (0, f"There is no snapshot in {home / 'snapshots'}.\n", "")

    code, out, err = memos_assets("snapshots", "write", "--label", "first")
    assert code == 0
    snapshot = out.strip()
    assert len(snapshot) == 64
    assert "wrote" in err
    code, out, err = memos_assets("snapshots", "write", "--json", "-")
    written = json.loads(out)
    assert (code, written["id"], written["unchanged"], written["bytes_written"]) == (
        *(0, snapshot),
        *(True, 0),
    )
    assert len(written["again"]) == 1
    assert memos_assets("snapshots", "write", "--label", "other")[2].startswith(
        f"M808 snapshot {snapshot[:12]}: these rows are labelled first already. Fix: "
    )

    code, out, err = memos_assets("snapshots", "list")
    (line,) = (row.split() for row in out.splitlines()[2:])
    assert (line[0], line[3], line[-1]) == (snapshot[:12], "2", "first")
    (listed,) = json.loads(memos_assets("snapshots", "list", "--json", "-")[1])["snapshots"]
    assert (listed["id"], listed["label"], listed["parent"]) == (snapshot, "first", None)
    code, out, err = memos_assets("snapshots", "show", "first")
    assert (code, err) == (0, "")
    assert snapshot in out
    assert "agent.postings" in out.partition("Left out")[2]
    assert memos_assets("snapshots", "show", snapshot[:6], "--json", "-")[0] == 0
    code, out, err = memos_assets("snapshots", "verify", snapshot[:8])
    assert (code, err) == (0, "")
    assert f"{snapshot[:12]} is whole: " in out
    assert json.loads(memos_assets("snapshots", "verify", snapshot, "--json", "-")[1])["whole"]


def test_damage_is_one_error_for_each_file(
    memos_assets: Command, database: sa.Engine, home: Path
) -> None:
    fill(database, 5)
    snapshot = memos_assets("snapshots", "write")[1].strip()
    (file,) = (home / "snapshots/tables/agent.memories").iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    file.write_bytes(content)

    assert memos_assets("snapshots", "show", snapshot)[0] == 0
    code, _, err = memos_assets("snapshots", "verify", snapshot)
    assert (code, err.count("M807"), err.splitlines()[0]) == (1, 1, err.strip())
    assert err.startswith("M807 table agent.memories, ")
    file.unlink()
    code, _, err = memos_assets("snapshots", "show", snapshot)
    assert (code, err.count("M807")) == (1, 1)
    assert "the file is missing. Fix: " in err

    assert memos_assets("snapshots", "show", "abcdef")[2].startswith("M802 snapshot abcdef: ")
    manifest = home / "snapshots/manifests" / f"{snapshot}.json"
    manifest.write_text(manifest.read_text().replace('"rows": 5', '"rows": 6'))
    code, _, err = memos_assets("snapshots", "list")
    assert (code, err.count("M801")) == (1, 1)
