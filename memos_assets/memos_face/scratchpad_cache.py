"""memOS's `agentic.scratchpad_cache`: `ScratchpadCache`, over the cache in PostgreSQL.

Findings, answered sub-questions and decompositions of missions, for all processes: nothing is
loaded at the start, and nothing is kept in memory beside the database. memOS's methods take no
session, and neither do these: a cache is made with what makes sessions, and each call is a short
transaction of its own. Without a database nothing is found and nothing is stored. Entries live a
week, where memOS's never ended. Success rates and counts of accesses are stored, where memOS lost
them at the end of the process.

Source: the memOS server, agentic/scratchpad_cache.py.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache import Scope, SyncCache, calls, entries, nearest, statistics
from memos_assets.cache.drivers import Sessions, work_now
from memos_assets.cache.flow import UnavailableError
from memos_assets.cache.key import Key, key_of
from memos_assets.cache.plan_calls import served
from memos_assets.cache.storable import Storable, storable
from memos_assets.cache.vector_indexes import Bounds
from memos_assets.postgres.schema.agent_cache import cache_entries
from memos_assets.search.embed import Embedder

FINDINGS: Final = "findings"
SUBQUERIES: Final = "subqueries"
MISSIONS: Final = "missions"
#: Sub-questions that are compared by their words, the newest first, and how many are returned.
_COMPARED, _RELATED = 500, 5
#: Least share of common words of related sub-questions, as memOS has it.
_OVERLAP: Final = 0.5
#: Weight of the newest success in the rate of a mission.
_ALPHA: Final = 0.3


class ScratchpadCache:
    """memOS's cache of what agents found out."""

    def __init__(
        self,
        sessions: Sessions,
        *,
        scope: Scope | None = None,
        embedder: Embedder | None = None,
        cache: SyncCache | None = None,
    ) -> None:
        """Take what makes sessions; nothing is opened.

        Args:
            sessions: from `sync_sessions_for`, or a ``sessionmaker``.
            scope: whose findings these are; None: of all users, as memOS has it.
            embedder: whose model the embeddings that are passed are of.
            cache: in place of one made with the embedder.
        """
        self._sessions, self._scope = sessions, scope or Scope()
        self._cache = cache or SyncCache(embedder)
        self._model = str(getattr(self._cache.embedder, "model", ""))
        self._raw: Counter[str] = Counter()
        self._bounds = Bounds()

    def cache_finding(
        self, content: str, source_url: str, confidence: float, embedding: Any = None
    ) -> str:
        """Store a finding; return memOS's hash of its text. An equal text is stored once."""
        if self.get_finding(content) is not None:
            self._raw["dedup_saved"] += 1
            self._raw["finding_hits"] -= 1  # it was a question of ours
        else:
            self._raw["finding_misses"] -= 1
        value = {"content": content, "source_url": source_url, "confidence": confidence}
        self._put(FINDINGS, content, value, embedding)
        return _hash(content)

    def get_finding(self, content: str) -> dict[str, Any] | None:
        """Return a finding by its text; None: there is none."""
        return self._get(FINDINGS, content, "finding")

    def find_similar_findings(
        self, embedding: Any, threshold: float = 0.85, max_results: int = 5
    ) -> list[tuple[dict[str, Any], float]]:
        """Return the findings nearest to an embedding, with their cosine, the nearest first.

        These are findings to look at, not answers in place of one another: no rule judges them.
        """
        key = key_of(FINDINGS, "an embedding", self._scope)
        vector = None if key is None else nearest.vector_of(key, self._model, embedding)
        if key is None or vector is None:
            return []
        found = self._run(
            lambda session: nearest.neighbours(
                session, key, vector, self._bounds, max_results, threshold
            ),
            [],
        )
        self._raw["finding_semantic_hits"] += bool(found)
        return [(calls.plain_value(one), similarity) for one, similarity in found]

    def get_findings_by_source(self, source_url: str) -> list[dict[str, Any]]:
        """Return the findings of a source, the newest first."""

        def of_source(value: dict[str, Any]) -> bool:
            return bool(value["source_url"] == source_url)

        return self._values(FINDINGS, of_source, most=None)

    def cache_subquery(
        self, query: str, answer: str, sources: Sequence[str], confidence: float = 0.0
    ) -> None:
        """Store the answer of a sub-question."""
        value = {"query": query, "answer": answer, "sources": list(sources)}
        self._put(SUBQUERIES, query, {**value, "confidence": confidence})

    def get_subquery(self, query: str) -> dict[str, Any] | None:
        """Return the answer of exactly this sub-question; None: there is none."""
        return self._get(SUBQUERIES, query, "subquery")

    def get_related_subqueries(
        self,
        query: str,
        embedding: Any = None,  # noqa: ARG002  memOS's signature, which never used it
        threshold: float = 0.8,  # noqa: ARG002  memOS's signature, which never used it
    ) -> list[dict[str, Any]]:
        """Return the five newest sub-questions that share half of the words, the most first."""
        asked = _words(query)
        shared = [
            (len(asked & words) / len(asked | words), -place, value)
            for place, value in enumerate(self._values(SUBQUERIES))
            if asked and (words := _words(value["query"]))
        ]
        related = sorted((one for one in shared if one[0] >= _OVERLAP), key=lambda one: one[:2])
        return [value for _, _, value in reversed(related[-_RELATED:])]

    def cache_mission_decomposition(
        self, mission: str, sub_questions: Sequence[Any], success_rate: float = 0.0
    ) -> None:
        """Store into which questions a mission was divided: texts, or objects."""
        value = {"mission": mission, "sub_questions": list(sub_questions)}
        self._put(MISSIONS, mission, {**value, "success_rate": success_rate})

    def get_mission_decomposition(self, mission: str) -> dict[str, Any] | None:
        """Return how a mission was divided; None: it was not."""
        return self._get(MISSIONS, mission, "mission")

    def update_mission_success_rate(self, mission: str, success: float) -> bool:
        """Move the rate of a mission towards a success (1) or a failure (0), and store it.

        Returns:
            Whether the mission is there.
        """
        value = self._get(MISSIONS, mission, None)
        if value is None:
            return False
        rate = _ALPHA * float(success) + (1 - _ALPHA) * value["success_rate"]
        self._put(MISSIONS, mission, {**value, "success_rate": rate})
        return True

    def get_stats(self) -> dict[str, Any]:
        """Return memOS's statistics: sizes of the tables, rates and counts of this process."""

        def sizes(session: Session) -> dict[str, int]:
            found = statistics.statistics(session)
            names = (FINDINGS, SUBQUERIES, MISSIONS)
            return {one: found[one].valid if one in found else 0 for one in names}

        size = self._run(sizes, dict.fromkeys((FINDINGS, SUBQUERIES, MISSIONS), 0))
        raw = {
            f"{one}_{what}": self._raw[f"{one}_{what}"]
            for one in ("finding", "subquery", "mission")
            for what in ("hits", "misses")
        }
        raw |= {name: self._raw[name] for name in ("finding_semantic_hits", "dedup_saved")}
        return {
            "finding_cache": {
                "size": size[FINDINGS],
                "hit_rate": self._rate("finding"),
                "semantic_hits": raw["finding_semantic_hits"],
                "dedup_saved": raw["dedup_saved"],
            },
            "subquery_cache": {"size": size[SUBQUERIES], "hit_rate": self._rate("subquery")},
            "mission_cache": {"size": size[MISSIONS], "hit_rate": self._rate("mission")},
            "raw_stats": raw,
        }

    def clear_all(self) -> None:
        """Evict all findings, sub-questions and missions, of every scope."""
        for namespace in (FINDINGS, SUBQUERIES, MISSIONS):
            with self._sessions() as session, session.begin():
                self._cache.invalidate(session, namespace=namespace)

    def compact_db(self) -> None:
        """Do nothing: PostgreSQL reuses the space of what is deleted."""

    def _rate(self, kind: str) -> float:
        hits = self._raw[f"{kind}_hits"]
        asked = hits + self._raw[f"{kind}_misses"]
        return hits / asked if asked else 0.0

    def _get(self, namespace: str, query: str, kind: str | None) -> dict[str, Any] | None:
        key = key_of(namespace, query, self._scope)
        found = None
        if key is not None:
            found = self._run(lambda session: entries.read(session, key), None)
        there = found is not None and found.fresh
        if kind is not None:
            self._raw[f"{kind}_{'hits' if there else 'misses'}"] += 1
        if kind is not None and key is not None:
            served(self._cache, key, found)
            self._cache.flush(self._sessions, now=False)
        if found is None or not there:
            return None
        value: dict[str, Any] = calls.plain_value(found)
        return value

    def _put(self, namespace: str, query: str, value: Any, embedding: Any = None) -> None:
        key, made = key_of(namespace, query, self._scope), storable(value)
        if key is None or not isinstance(made, Storable):
            return
        vector = None if embedding is None else nearest.vector_of(key, self._model, embedding)
        rules = self._cache.rules(namespace)
        self._run(
            lambda session: calls.put(session, key, made, rules, self._cache.rng, vector=vector),
            None,
        )

    def _values(
        self,
        namespace: str,
        wanted: Callable[[dict[str, Any]], bool] = bool,
        most: int | None = _COMPARED,
    ) -> list[dict[str, Any]]:
        """Return the newest values of the scope that live, of at most so many, that are wanted."""
        key = key_of(namespace, "any", self._scope)
        if key is None:
            return []
        found: list[dict[str, Any]] = self._run(
            lambda session: [value for value in _newest(session, key, most) if wanted(value)], []
        )
        return found

    def _run(self, run: Callable[[Session], Any], otherwise: Any) -> Any:
        """Run a function in a transaction of its own; without a database, return the other."""

        def acting(session: Session) -> Any:
            entries.act_for(session, self._scope.user, brief=True)
            return run(session)

        try:
            return work_now(self._sessions, self._cache.availability, acting)
        except UnavailableError:
            return otherwise


def _newest(session: Session, key: Key, most: int | None) -> Iterable[dict[str, Any]]:
    e = cache_entries.c
    statement = (
        sa.select(e.value)
        .where(e.namespace == key.namespace, e.scope == key.scope_digest)
        .where(e.expires_at > sa.func.clock_timestamp())
        .order_by(e.stored_at.desc(), e.number.desc())
        .limit(most)
        .execution_options(yield_per=_COMPARED)
    )
    return map(calls.plain_text, session.execute(statement).scalars())


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
