"""Take over what has not expired of memOS's caches; the files are read, never written.

Lives of a content_cache.db go on as they were. Rows of a scratchpad_cache.db never end in memOS:
they live from now on as long as those that are stored here. A row that cannot be read, or that a
rule refuses, is counted and left out: a cache may lose answers.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import calls, entries, nearest
from memos_assets.cache.calls import CONTENT, QUERIES
from memos_assets.cache.entries import Vector
from memos_assets.cache.key import Key, Scope, key_of
from memos_assets.cache.namespaces import default_rng, namespace_of
from memos_assets.cache.storable import Refusal, Storable, storable
from memos_assets.errors import AgentError
from memos_assets.sqlite.file import layout, opened

#: The model of memOS's query cache.
MEMOS_MODEL: Final = "mxbai-embed-large"
_BATCH: Final = 500
_PAGES: Final = (
    "select url, title, content, content_type, success, error, expires_at from content_cache"
)
_QUERIES: Final = "select query, result_json, embedding, expires_at from query_cache"
_FINDINGS: Final = "select content, source_url, confidence, embedding from findings"
_SUBQUERIES: Final = "select query, answer, sources, confidence from subqueries"
_MISSIONS: Final = "select mission, sub_questions, success_rate from missions"
_TABLES: Final = frozenset({"content_cache", "query_cache", "findings", "subqueries", "missions"})
_WITHOUT_EMBEDDING: Final = "select query, result_json, null, expires_at from query_cache"


@dataclass(slots=True)
class Imported:
    """What was taken over.

    Attributes:
        stored: namespace -> entries.
        embedded: of the queries, that can be found by meaning.
        left_out: reason -> rows: ``expired``, ``no life``, ``no key``, ``unreadable``, or the rule
            that refused a value.
    """

    stored: Counter[str] = field(default_factory=Counter)
    embedded: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class _Row:
    key: Key | None
    made: Storable | Refusal
    expires_at: Any
    vector: Vector | None = None
    lasting: bool = False


def import_file(
    sessions: sessionmaker[Session], path: Path, *, scope: Scope, model: str = MEMOS_MODEL
) -> Imported:
    """Take over the rows of a content_cache.db or scratchpad_cache.db whose life goes on.

    Args:
        sessions: makes sessions, of services or of the owner of the tables.
        path: of the file.
        scope: whose answers they become; memOS had one cache for all users.
        model: that embedded the queries.

    Raises:
        AgentError: M784 the file has no table of a cache of memOS.
        SourceError: M101 to M108 it cannot be read.
    """
    done = Imported()
    with opened(path) as connection:
        tables = layout(connection)
        if not _TABLES & tables.keys():
            raise AgentError(
                "M784",
                f"has none of the tables {', '.join(sorted(_TABLES))}",
                where=str(path),
                fix="name memOS's content_cache.db or scratchpad_cache.db",
            )
        rows = _rows(connection, tables, scope, model)
        while batch := [row for _, row in zip(range(_BATCH), rows, strict=False)]:
            # session-rule: S001 because a command has no session: each batch is a transaction
            with sessions() as session, session.begin():
                _store(session, batch, scope, done)
    return done


def _rows(connection: Connection, tables: Any, scope: Scope, model: str) -> Iterator[_Row]:
    if "content_cache" in tables:
        for url, title, content, kind, success, error, expires_at in connection.execute(_PAGES):
            made = calls.page(url, title, content, kind, success=bool(success), error=error)
            yield _Row(key_of(CONTENT, url, scope), made, expires_at)
    if "query_cache" in tables:
        # Files that are older than the column do not have it.
        has = "embedding" in tables["query_cache"]
        for query, text, embedding, expires_at in connection.execute(
            _QUERIES if has else _WITHOUT_EMBEDDING
        ):
            key = key_of(QUERIES, query, scope)
            yield _Row(key, _result(text), expires_at, _vector(key, model, embedding))
    yield from _scratchpad(connection, tables, scope, model)


def _scratchpad(connection: Connection, tables: Any, scope: Scope, model: str) -> Iterator[_Row]:
    """Yield findings, answers and divided missions, as `memos_face` stores them."""
    if "findings" in tables:
        for content, source_url, confidence, embedding in connection.execute(_FINDINGS):
            key = key_of("findings", content, scope)
            value = {"content": content, "source_url": source_url, "confidence": confidence}
            yield _Row(key, storable(value), None, _vector(key, model, embedding), lasting=True)
    if "subqueries" in tables:
        for query, answer, sources, confidence in connection.execute(_SUBQUERIES):
            yield _Row(
                key_of("subqueries", query, scope),
                _listed(
                    {"query": query, "answer": answer, "confidence": confidence}, sources=sources
                ),
                None,
                lasting=True,
            )
    if "missions" in tables:
        for mission, questions, rate in connection.execute(_MISSIONS):
            made = _listed({"mission": mission, "success_rate": rate}, sub_questions=questions)
            yield _Row(key_of("missions", mission, scope), made, None, lasting=True)


def _listed(value: dict[str, Any], **lists: Any) -> Storable | Refusal:
    """Return a value with lists that memOS stored as JSON; NULL is none."""
    try:
        read = {name: [] if text is None else json.loads(text) for name, text in lists.items()}
    except (TypeError, ValueError, RecursionError):
        return "not json"
    return storable({**value, **read})


def _vector(key: Key | None, model: str, embedding: Any) -> Vector | None:
    if key is None or not isinstance(embedding, bytes) or len(embedding) % 4:
        return None
    return nearest.vector_of(key, model, np.frombuffer(embedding, dtype="<f4"))


def _result(text: Any) -> Storable | Refusal:
    try:
        return calls.result(json.loads(text))
    except (TypeError, ValueError, RecursionError):
        return "not json"


_NOW: Final = sa.text("select extract(epoch from pg_catalog.clock_timestamp())::double precision")


def _store(session: Session, rows: list[_Row], scope: Scope, done: Imported) -> None:
    entries.act_for(session, scope.user)
    now = session.execute(_NOW).scalar_one()
    for row in rows:
        reason, life = _life(row, now)
        if reason:
            done.left_out[reason] += 1
            continue
        assert row.key is not None
        assert isinstance(row.made, Storable)
        entries.store(session, row.key, row.made, life, 0.0, vector=row.vector)
        done.stored[row.key.namespace] += 1
        done.embedded += row.vector is not None


def _life(row: _Row, now: float) -> tuple[str, float]:
    """Return why a row is left out, or "" and the seconds that it lives on."""
    if row.key is None:
        return "no key", 0.0
    if not isinstance(row.made, Storable):
        return row.made, 0.0
    if row.lasting:
        rules = namespace_of(row.key.namespace)
        return "", rules.life(None, negative=row.made.negative, rng=default_rng)
    if not isinstance(row.expires_at, int | float) or not math.isfinite(row.expires_at):
        return "no life", 0.0
    life = float(row.expires_at) - now
    return ("", min(life, 315_576_000.0)) if life > 0 else ("expired", 0.0)
