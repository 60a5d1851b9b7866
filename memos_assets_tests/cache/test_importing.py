"""memOS's scratchpad_cache.db is taken over as its class in `memos_face` stores and finds it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Scope
from memos_assets.cache.importing import import_file
from memos_assets.errors import AgentError
from memos_assets.memos_face.scratchpad_cache import ScratchpadCache


def test_a_scratchpad_is_taken_over_and_lives_from_now_on(
    sessions: sessionmaker[Session], scope: Scope, tmp_path: Path
) -> None:
    path = tmp_path / "scratchpad_cache.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(
            """
            create table findings (content_hash text primary key, content text, source_url text,
                confidence real, embedding blob, cached_at text, access_count integer);
            create table subqueries (query_hash text primary key, query text, answer text,
                sources text, confidence real, cached_at text, access_count integer);
            create table missions (mission_hash text primary key, mission text,
                sub_questions text, cached_at text, success_rate real);
            insert into subqueries values ('a', 'Why is it red?', 'It is hot.', '["x"]', .7, '', 0);
            insert into subqueries values ('b', 'Why is it blue?', 'Cold.', 'broken [', .7, '', 0);
            insert into missions values ('c', 'Find out', '["What?", {"question": "q"}]', '', .5);
            """
        )
        vector = np.eye(8, dtype="<f4")[0].tobytes()
        rows = [("d", "It is iron.", "http://x", 0.9, vector), ("e", "", "", 0.5, None)]
        file.executemany("insert into findings values (?, ?, ?, ?, ?, '2025-12-29T15:35', 0)", rows)
        file.commit()
    done = import_file(sessions, path, scope=scope, model="m")
    assert done.stored == {"findings": 1, "subqueries": 1, "missions": 1}
    assert (done.embedded, done.left_out) == (1, {"no key": 1, "not json": 1})
    cache = ScratchpadCache(sessions, scope=scope)
    assert cache.get_finding("It is iron.") == {
        "content": "It is iron.", "source_url": "http://x", "confidence": 0.9
    }  # fmt: skip
    answer = cache.get_subquery("Why is it red?")
    assert answer is not None
    assert (answer["answer"], answer["sources"]) == ("It is hot.", ["x"])
    mission = cache.get_mission_decomposition("Find out")
    assert mission is not None
    assert mission["sub_questions"] == ["What?", {"question": "q"}]


def test_a_file_of_something_else_is_named(
    sessions: sessionmaker[Session], scope: Scope, tmp_path: Path
) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("create table t (a)")
        file.commit()
    with pytest.raises(AgentError, match="M784") as raised:
        import_file(sessions, path, scope=scope)
    assert "scratchpad_cache.db" in str(raised.value)
