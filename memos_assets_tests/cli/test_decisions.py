"""Losses at the terminal: `plan` names them, `accept` and `acknowledge` settle their checks."""

import json
from pathlib import Path

import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.consolidate import builders as b

SOURCE = "mixed_precision_embeddings"


def write(folder: Path) -> Path:
    """Six of twenty embeddings state another dimension, one is missing."""
    odd: dict[int, dict[str, object]] = {n: {"dimension": 5} for n in range(1, 7)}
    odd[7] = {"fp16_data": None}
    rows = [b.embedding(n) | odd.get(n, {}) for n in range(1, 21)]
    return b.write_kind(folder, SOURCE, embeddings=rows)


def test_plan_says_what_will_wait_for_a_decision(
    memos_assets: Command, home: Path, tmp_path: Path
) -> None:
    assert home
    path, listed = write(tmp_path / "memOS"), tmp_path / "plan.json"
    code, out, _ = memos_assets("plan", "--data", str(path), "--json", str(listed))
    assert code == 0
    assert (
        f"Not proven until somebody decides on it (V30): {SOURCE}, embeddings: "
        "embedding wrong_length 6 of 19 (31.6%). " in out
    )
    assert (
        "Would be lost by table: embeddings: embedding wrong_length 6 of 19 (31.6%); "
        "embeddings: embedding missing 1 of 20 (5.0%).\n" in out
    )
    (table,) = (t for t in json.loads(listed.read_text())["tables"] if t["rows"])
    assert {loss["reason"]: loss["needs_decision"] for loss in table["losses"]} == {
        "missing": False,
        "wrong_length": True,
    }


def test_lost_embeddings_are_listed_accepted_with_their_count_and_withdrawn(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    b.consolidate(database, write(tmp_path / "memOS"))
    code, out, _ = memos_assets("rejects", "list")
    assert code == 0
    command = (
        f"rejects accept --source {SOURCE} --table embeddings --column embedding "
        "--reason wrong_length --count"
    )
    assert f"  memos-assets {command} 6\n" in out
    code, _, err = memos_assets(*command.split(), "5")
    assert (code, err.startswith("M556 ")) == (2, True)
    code, _, err = memos_assets(*command.replace("wrong_length", "nonsense").split(), "5")
    assert (code, err.startswith("M541 nonsense: not a reason of NULL embeddings")) == (2, True)
    code, out, err = memos_assets(*command.split(), "6", "--note", "another model")
    assert (code, err) == (0, "")
    assert "Prove it: memos-assets verify" in out
    assert "accept" not in memos_assets("rejects", "list")[1]
    assert b.rows(database, "select rows, note from memos_ops.accepted_losses") == [
        (6, "another model")
    ]
    code, out, _ = memos_assets(
        *("rejects", "withdraw", "--table", "embeddings", "--reason", "wrong_length")
    )
    assert (code, "Withdrew the acceptance of wrong_length 6 in " in out) == (0, True)


def test_a_table_is_acknowledged_listed_and_taken_back(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path / "memOS")
    b.change(path, "create table _litestream_lock (id)", "insert into _litestream_lock values (1)")
    b.consolidate(database, path)
    assert memos_assets("acknowledge")[1] == "Nothing is acknowledged.\n"
    code, _, err = memos_assets("acknowledge", SOURCE, "_litestream_lock")
    assert (code, err.startswith("M558 _litestream_lock: no reason is given")) == (2, True)
    code, out, err = memos_assets(
        *("acknowledge", SOURCE, "_litestream_lock", "--reason", "Litestream", "--by", "ada")
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"Acknowledged: _litestream_lock of {SOURCE}.\n")
    listed = tmp_path / "list.json"
    assert "Litestream" in memos_assets("acknowledge", "--json", str(listed))[1]
    assert [(e["table"], e["column"], e["by"]) for e in json.loads(listed.read_text())] == [
        ("_litestream_lock", None, "ada")
    ]
    assert memos_assets("acknowledge", SOURCE, "_litestream_lock", "--undo")[0] == 0
    assert memos_assets("acknowledge", SOURCE)[1] == "Nothing is acknowledged.\n"
