"""memOS's ScratchpadCache over PostgreSQL: shared by processes, its rates and counts stored."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Scope
from memos_assets.memos_face import scratchpad_cache
from memos_assets.memos_face.scratchpad_cache import ScratchpadCache


def made(engine: sa.Engine, **more: Any) -> ScratchpadCache:
    return ScratchpadCache(sessionmaker[Session](engine), **more)


def test_findings_sub_questions_and_missions_as_memos_calls_for_them(engine: sa.Engine) -> None:
    cache, other = made(engine), made(engine)
    one, near, far = np.eye(8)[0], np.eye(8)[0] + 0.2 * np.eye(8)[1], np.eye(8)[2]
    first = cache.cache_finding("Berlin is a capital", "http://a", 0.9, one)
    assert first == cache.cache_finding("Berlin is a capital", "http://a", 0.8, one)
    assert len(first) == 16
    cache.cache_finding("Bonn was a capital", "http://a", 0.9, list(near))
    cache.cache_finding("Cologne has a cathedral", "http://b", 0.7)
    cache.cache_finding("Too short a vector", "http://b", 0.7, [1.0, 2.0])
    found = other.get_finding("Berlin is a capital")
    assert found == {
        "content": "Berlin is a capital",
        "source_url": "http://a",
        "confidence": 0.8,
    }
    assert cache.get_finding("unknown") is None
    assert [value["content"] for value, _ in other.find_similar_findings(one)] == [
        "Berlin is a capital",
        "Bonn was a capital",
    ]
    assert other.find_similar_findings(far) == []
    assert other.find_similar_findings(np.zeros(8)) == []
    sources = [value["content"] for value in other.get_findings_by_source("http://a")]
    assert sorted(sources) == ["Berlin is a capital", "Bonn was a capital"]

    cache.cache_subquery("how tall is the tower", "300 m", ["http://t"], 0.5)
    cache.cache_subquery("who built the bridge", "nobody knows", [])
    assert other.get_subquery("how tall is the tower") == {
        "query": "how tall is the tower",
        "answer": "300 m",
        "sources": ["http://t"],
        "confidence": 0.5,
    }
    related = other.get_related_subqueries("how old is the tower")
    assert [value["answer"] for value in related] == ["300 m"]
    assert other.get_related_subqueries("") == []

    cache.cache_mission_decomposition("compare towers", ["which?", {"question": "how tall?"}], 0.5)
    assert other.update_mission_success_rate("compare towers", 1) is True
    assert other.update_mission_success_rate("unknown", 1) is False
    mission = made(engine).get_mission_decomposition("compare towers")
    assert mission is not None
    assert mission["sub_questions"] == ["which?", {"question": "how tall?"}]
    assert mission["success_rate"] == pytest.approx(0.65)

    stats = cache.get_stats()
    assert stats["finding_cache"] == {
        "size": 4,
        "hit_rate": 0.0,
        "semantic_hits": 0,
        "dedup_saved": 1,
    }
    assert stats["raw_stats"]["finding_misses"] == 1
    assert other.get_stats()["finding_cache"]["hit_rate"] == 1.0
    assert made(engine, scope=Scope(user="u")).get_finding("Berlin is a capital") is None
    cache.compact_db()
    cache.clear_all()
    assert cache.get_stats()["mission_cache"]["size"] == 0


def test_without_a_database_nothing_is_found_and_nothing_fails() -> None:
    cache = made(sa.create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    assert len(cache.cache_finding("content", "http://a", 0.9)) == 16
    assert cache.get_finding("content") is None
    assert cache.find_similar_findings(np.eye(8)[0]) == []
    assert cache.get_findings_by_source("http://a") == []
    cache.cache_subquery("q", "a", [])
    assert cache.get_related_subqueries("q") == []
    assert cache.update_mission_success_rate("m", 1) is False
    assert cache.get_stats()["finding_cache"]["size"] == 0


def test_all_findings_of_a_source_are_returned_however_many_there_are(
    engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratchpad_cache, "_COMPARED", 2)
    cache = made(engine)
    for number in range(5):
        cache.cache_finding(f"finding {number}", f"http://{number % 2}", 0.5)
    found = [value["content"] for value in cache.get_findings_by_source("http://0")]
    assert found == ["finding 4", "finding 2", "finding 0"]
