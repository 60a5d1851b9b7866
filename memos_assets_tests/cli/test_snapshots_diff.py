"""The command snapshots diff."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.texts import ensure_may_see
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.snapshots.memories import fill

_CHANGES = (
    """
    insert into agent.memories
        (id, space_id, user_id, kind, content, content_digest, words, source)
    select md5('new')::uuid, id, 'ann', 'question', E'Why \\x1b[31m?', md5('new'), 1, 'mail:9'
    from agent.spaces
    """,
    "update agent.memories set retracted_at = '2026-02-01Z' where number = 2",
    "delete from agent.memories where number = 5",
    "update agent.links set weight = 0.8 where a = 1",
    "update agent.embeddings_1 set embedding = '[1,0,0,0,0,0,0,0]' where memory = 1",
)


def test_a_diff_counts_changes_and_shows_texts_only_to_the_owner_who_asks(
    memos_assets: Command, database: sa.Engine, home: Path
) -> None:
    fill(database, 5)
    assert memos_assets("snapshots", "write", "--label", "monday")[0] == 0
    code, out, err = memos_assets("snapshots", "diff", "monday", "monday")
    assert (code, err) == (0, "")
    assert out.endswith("have the same rows.\n")
    with database.begin() as conn:
        for statement in _CHANGES:
            conn.exec_driver_sql(statement)
    assert memos_assets("snapshots", "write", "--label", "tuesday")[0] == 0

    code, out, err = memos_assets("snapshots", "diff", "monday", "tuesday")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert next(one.split() for one in lines if one.startswith("agent.memories ")) == [
        *("agent.memories", "1", "1", "1", "retracted_at", "1")
    ]
    assert "Embeddings alone changed: 1 row." in lines
    assert "Links with another weight: 1." in lines
    assert "Memories that are retracted since: 1." in lines
    assert "agent.memories added: 6" in lines
    assert "agent.links removed: 4/5/semantic" in lines
    assert not any(word in out for word in ("Why", "Fact", "team"))

    code, out, err = memos_assets("snapshots", "diff", "monday", "tuesday", "--text")
    assert (code, err) == (0, "")
    # What a terminal would act upon is escaped.
    assert "+ 6  Why \\x1b[31m?" in out
    assert "- 5  Fact 5 früh" in out
    assert "team" in out

    limited = memos_assets("snapshots", "diff", "monday", "tuesday", "--limit", "1")[1]
    assert "agent.links removed: 4/5/semantic\n" in limited
    with database.begin() as conn:
        conn.exec_driver_sql("delete from agent.links")
    assert memos_assets("snapshots", "write", "--label", "friday")[0] == 0
    limited = memos_assets("snapshots", "diff", "monday", "friday", "--limit", "1")[1]
    assert "agent.links removed: 1/2/semantic, and 3 more" in limited

    code, out, err = memos_assets(
        *("snapshots", "diff", "monday", "tuesday", "--limit", "1", "--json", "-")
    )
    told = json.loads(out)
    assert (code, err, told["rows"]) == (0, "", {"added": 1, "removed": 2, "changed": 3})
    assert "texts" not in told

    manifest = open_store(str(home / "snapshots")).manifest("monday")
    with database.connect() as conn:
        ensure_may_see(conn, manifest)
        with pytest.raises(SnapshotError, match=r"M814 .*of another database"):
            ensure_may_see(conn, replace(manifest, database="7/other"))
        conn.exec_driver_sql("set local role pg_read_all_data")
        with pytest.raises(SnapshotError, match=r"M814 .*does not own the memories"):
            ensure_may_see(conn, manifest)
