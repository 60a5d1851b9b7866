"""memOS's `agentic.content_cache`: `ContentCache`, over the cache in PostgreSQL.

memOS's methods take no session, and neither do these: a cache is made with what makes sessions
(`memory.sync_sessions_for`), and each call is a short transaction of its own. All processes share
one cache. memOS's defects are not here: a row of another dimension ends no lookup, a query vector
may be an array, ``max_entries`` is enforced (in the background), and reading statistics deletes
nothing. Statistics have hits by origin and misses by reason, too.

Source: the memOS server, agentic/content_cache.py.
"""

from typing import Any

from memos_assets.cache import Scope, SyncCache
from memos_assets.cache.drivers import Sessions
from memos_assets.search.embed import Embedder


class ContentCache:
    """memOS's cache of pages and of results of queries."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        content_ttl: float | None = None,
        query_ttl: float | None = None,
        scope: Scope | None = None,
        embedder: Embedder | None = None,
        cache: SyncCache | None = None,
    ) -> None:
        """Take what makes sessions; nothing is opened.

        Args:
            sessions: from `sync_sessions_for`, or a ``sessionmaker``.
            content_ttl: seconds that a page lives; None: an hour.
            query_ttl: seconds that a result lives; None: a quarter of an hour.
            scope: whose answers these are; None: of all users, as memOS has it.
            embedder: of queries, by which results are found by their text, too.
            cache: in place of one made with the embedder.
        """
        self._sessions, self._scope = sessions, scope or Scope()
        self._content_ttl, self._query_ttl = content_ttl, query_ttl
        self._cache = cache or SyncCache(embedder)

    def get_content(self, url: str) -> dict[str, Any] | None:
        """Return a page: url, title, content, content_type, success, error; None: none lives."""
        return self._cache.get_content(self._sessions, url, scope=self._scope)

    def set_content(
        self,
        url: str,
        title: str | None,
        content: str,
        content_type: str,
        success: bool,  # noqa: FBT001  memOS's signature
        error: str | None = None,
        ttl_override: float | None = None,
    ) -> None:
        """Store a page, or for half a minute that it could not be read."""
        self._cache.set_content(
            self._sessions,
            url,
            title,
            content,
            content_type,
            success=success,
            error=error,
            ttl_override=self._content_ttl if ttl_override is None else ttl_override,
            scope=self._scope,
        )

    def get_query_result(self, query: str) -> dict[str, Any] | None:
        """Return the result of exactly this query, with ``from_cache``; None: none lives."""
        return self._cache.get_query_result(self._sessions, query, scope=self._scope)

    def set_query_result(
        self,
        query: str,
        result: dict[str, Any],
        embedding: Any = None,
        ttl_override: float | None = None,
    ) -> None:
        """Store the result of a query; one that failed or is not complete is not stored."""
        self._cache.set_query_result(
            self._sessions,
            query,
            result,
            embedding,
            self._query_ttl if ttl_override is None else ttl_override,
            scope=self._scope,
        )

    def find_similar_query(
        self,
        query_embedding: Any,
        similarity_threshold: float = 0.85,
        top_k: int = 1,  # noqa: ARG002  memOS's signature, which never used it
    ) -> dict[str, Any] | None:
        """Return the result of the nearest query, with what memOS adds to it; None: there is none.

        Args:
            query_embedding: the vector, as memOS passes it: it finds its very query alone, since
                no rule can judge numbers. Or the query's text: then the nearest one is found that
                the gate lets pass.
            similarity_threshold: least cosine.
            top_k: not used.
        """
        return self._cache.find_similar_query(
            self._sessions, query_embedding, similarity_threshold, scope=self._scope
        )

    def cleanup_expired(self) -> tuple[int, int]:
        """Delete what is past its life; return how many pages and how many results."""
        return self._cache.cleanup_expired(self._sessions, scope=self._scope)

    def get_stats(self) -> dict[str, Any]:
        """Return memOS's statistics, with hits by origin and misses by reason."""
        self._cache.flush(self._sessions)
        found = self._cache.get_stats(self._sessions, scope=self._scope)
        rules = self._cache.rules
        found["ttl_seconds"] = {
            "content": rules("content").ttl if self._content_ttl is None else self._content_ttl,
            "query": rules("queries").ttl if self._query_ttl is None else self._query_ttl,
        }
        return found

    def clear(self) -> None:
        """Evict all pages and results, of every scope."""
        for namespace in ("content", "queries"):
            with self._sessions() as session, session.begin():
                self._cache.invalidate(session, namespace=namespace)
