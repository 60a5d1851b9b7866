"""The commands cache stats, evict and import."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import sessionmaker

from memos_assets.cache import Scope, SyncCache
from memos_assets.demo.caches import CONTENT_LAYOUT
from memos_assets_tests.cache.test_by_meaning import Near
from memos_assets_tests.cli.conftest import Command

UNIT = np.eye(8, dtype="<f4")


def write(path: Path) -> Path:
    now = time.time()
    pages = [
        ("a", "http://a", "A", "text", "html", "", 1, None, now, now + 600, 3),
        ("b", "http://b", "B", "old", "html", "", 1, None, now - 9_000, now - 10, 0),
        ("c", "http://c", None, "", "error", "", 0, "404", now, now + 600, 0),
    ]
    nothing = np.zeros(8, "<f4").tobytes()
    queries = [
        ("1", "asked", '{"data": 1}', UNIT[0].tobytes(), now, now + 600, 0),
        ("2", "zeros", '{"data": 2}', nothing, now, now + 600, 0),
        ("3", "without", '{"data": 3}', None, now, now + 600, 0),
        ("4", "expired", '{"data": 4}', None, now, now - 1, 0),
        ("5", "broken", '{"data":', None, now, now + 600, 0),
        ("6", "failed", '{"success": false}', None, now, now + 600, 0),
        ("7", "immortal", '{"data": 7}', None, now, None, 0),
        ("8", "", '{"data": 8}', None, now, now + 600, 0),
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in CONTENT_LAYOUT:
            connection.execute(statement)
        connection.executemany(f"insert into content_cache values ({','.join('?' * 11)})", pages)
        connection.executemany(f"insert into query_cache values ({','.join('?' * 7)})", queries)
    return path


def test_what_has_not_expired_is_taken_over_shown_and_evicted(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    file = write(tmp_path / "content_cache.db")
    before = file.read_bytes()
    code, out, err = memos_assets("cache", "stats")
    assert (code, out, err) == (0, "The cache is empty, and nobody has asked it.\n", "")
    code, out, err = memos_assets("cache", "import", str(file), "--model", "m", "--tenant", "t")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "Stored: content 2, queries 3; 1 can be found by meaning.",
        "Left out: error 1, expired 2, no key 1, no life 1, not json 1.",
    ]
    assert file.read_bytes() == before
    sessions, cache, scope = sessionmaker(database), SyncCache(Near(model="m")), Scope(tenant="t")
    page = cache.get_content(sessions, "http://a", scope=scope)
    assert page is not None
    assert page["content"] == "text"
    failed = cache.get_content(sessions, "http://c", scope=scope)
    assert failed is not None
    assert failed["error"] == "404"
    assert cache.get_query_result(sessions, "without", scope=scope) is not None
    assert cache.get_query_result(sessions, "expired", scope=scope) is None
    found = cache.find_similar_query(sessions, UNIT[0], scope=scope)
    assert found is not None
    assert (found["data"], found["matched_query"]) == (1, "asked")
    life = sa.text(
        "select extract(epoch from expires_at - stored_at) from agent.cache_entries "
        "where query = 'asked'"
    )
    with database.connect() as conn:
        assert 500 < conn.execute(life).scalar_one() <= 600
    cache.flush(sessions)
    code, out, err = memos_assets("cache", "stats")
    assert (code, err) == (0, "")
    assert "queries" in out
    assert "absent 1" in out

    code, out, err = memos_assets("cache", "evict")
    assert code != 0
    assert err.startswith("M785 memos-assets cache evict: ")
    assert memos_assets("cache", "evict", "--memory", "x")[2].startswith("M785 --memory: ")
    assert memos_assets("cache", "evict", "--namespace", "content")[1] == "Evicted 2 entries.\n"
    assert memos_assets("cache", "evict", "--user", "nobody")[1] == "Evicted 0 entries.\n"
    assert memos_assets("cache", "evict", "--expired")[1] == (
        "Deleted 0 expired entries, evicted 0 over the limits.\n"
    )


@pytest.mark.usefixtures("database")
def test_a_file_of_another_kind_is_refused(memos_assets: Command, tmp_path: Path) -> None:
    file = tmp_path / "other.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table notes (text)")
    code, _, err = memos_assets("cache", "import", str(file))
    assert code != 0
    assert err.startswith(f"M784 {file}: ")
    assert memos_assets("cache", "import", str(tmp_path / "none.db"))[2].startswith("M101 ")
