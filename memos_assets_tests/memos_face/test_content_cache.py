"""memOS's ContentCache over PostgreSQL: its signatures, and none of its defects."""

from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memos_face.content_cache import ContentCache


class _Model:
    model, dimension = "m", 8

    def embed(self, texts: Any) -> Any:
        return np.stack([np.eye(8)[0] + 0.1 * np.eye(8)[len(text) % 7] for text in texts])

    def embed_query(self, text: str) -> Any:
        return self.embed([text])[0]


@pytest.fixture
def cache(engine: sa.Engine) -> ContentCache:
    return ContentCache(sessionmaker[Session](engine), content_ttl=60, embedder=_Model())


def test_pages_and_results_as_memos_calls_for_them(cache: ContentCache) -> None:
    assert cache.get_content("http://a") is None
    cache.set_content("http://a", "A", "text", "html", success=True)
    found = cache.get_content("http://a")
    assert found is not None
    assert (found["title"], found["content"], found["success"]) == ("A", "text", True)
    cache.set_content("http://b", None, "", "error", success=False, error="timeout")
    failed = cache.get_content("http://b")
    assert failed is not None
    assert (failed["success"], failed["error"]) == (False, "timeout")

    one = np.eye(8)[0]
    cache.set_query_result("what is a cache", {"data": {"n": 1}}, list(one))
    cache.set_query_result("failed", {"success": False})
    assert cache.get_query_result("failed") is None
    assert cache.get_query_result(" what  is a cache") == {"data": {"n": 1}, "from_cache": True}
    similar = cache.find_similar_query(one)
    assert similar is not None
    assert (similar["matched_query"], similar["semantic_match"]) == ("what is a cache", True)
    # Rows of another dimension, zeros and near vectors without their text end or match nothing.
    for other in (np.eye(4)[0], np.zeros(8), one + 0.1):
        assert cache.find_similar_query(other) is None
    # With its text the gate decides.
    assert cache.find_similar_query("what is the cache") is not None
    assert cache.find_similar_query("what is not a cache") is None


def test_statistics_count_misses_and_delete_nothing(cache: ContentCache, engine: sa.Engine) -> None:
    cache.set_query_result("q", {"data": 1}, ttl_override=50)
    cache.get_query_result("q")
    cache.get_query_result("unknown")
    with engine.begin() as conn:
        conn.execute(
            sa.text("update agent.cache_entries set expires_at = now(), stale_until = now()")
        )
    cache.get_query_result("q")
    stats = cache.get_stats()
    assert stats["ttl_seconds"] == {"content": 60, "query": 900.0}
    queries = stats["query_cache"]
    assert (queries["total_entries"], queries["valid_entries"]) == (1, 0)
    assert queries["hits"] == {"exact": 1}
    assert queries["misses"] == {"absent": 1, "expired": 1}
    assert queries["hit_rate"] == pytest.approx(1 / 3)
    assert cache.cleanup_expired() == (0, 1)
    cache.set_content("http://a", "A", "text", "html", success=True)
    cache.clear()
    assert cache.get_content("http://a") is None
