"""The statement of a search, and its rows as hits; `api` and `api_async` send it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa

from memos_assets.catalog import MEMOS, Table
from memos_assets.errors import MemosAssetsError, TargetError, UsageError
from memos_assets.postgres.application.presence import absent_error
from memos_assets.postgres.connection import first_line
from memos_assets.postgres.storable_text import storable_text
from memos_assets.postgres.vector_names import TYPES as VECTOR_TYPES
from memos_assets.search.query_embedding import QueryEmbedding, bound, query_embedding
from memos_assets.search.searchable import MOST_HITS, searchable
from memos_assets.sqlite.printable import shown_value

#: How the lists of a search by both become one: by their scores, or by reciprocal rank.
Fusion = Literal["scores", "rrf"]
#: An embedding: elements in order, or an array of shape (dimension,).
Embedding = Sequence[float] | npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Hit:
    """One row that a search found.

    Attributes:
        table: that it is in.
        key: column -> value, the owner (``source``) first.
        text: of the row; None where it has none.
        metadata: JSON beside it, as stored.
        distance: cosine distance, 0 to 2, where a search by embedding found it, else None.
        score: BM25 of a full-text search, or fused score; None for a search by embedding.
    """

    table: str
    key: Mapping[str, str]
    text: str | None = None
    metadata: Any = field(default=None, compare=False)
    distance: float | None = None
    score: float | None = None


#: Attribute of a hit -> column of the function's rows.
_SHOWN = (
    ("text", "text"),
    ("metadata", "metadata"),
    ("distance", "distance"),
    ("score", "score"),
    ("score", "rank"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """A statement with its values, and how its rows become hits."""

    table: Table
    statement: sa.TextClause
    values: Mapping[str, Any]
    filters: Mapping[str, Any]

    def answer(self, conn: sa.Connection) -> list[Hit]:
        """Send it within the connection's transaction.

        Raises:
            UsageError: M571 to M574 the function refuses; M575 a filter on a key that no row has.
            TargetError: M326 the functions are not there.
        """
        try:
            hits = self._hits(conn.execute(self.statement, bound(conn, self.values)))
        except sa.exc.DBAPIError as error:
            raise self._refusal(error) or error from None
        if not hits:
            self._need_keys(conn)
            self._need_words(conn)
        return hits

    def _hits(self, answer: sa.CursorResult[Any]) -> list[Hit]:
        """Return the rows of the answer as hits."""
        # Each row as a mapping, which SQLAlchemy offers, takes three times as long.
        place = {name: number for number, name in enumerate(answer.keys())}
        key = [(name, place[name]) for name in self.table.key]
        shown = {of_hit: place[column] for of_hit, column in _SHOWN if column in place}
        return [
            Hit(
                self.table.name,
                {name: str(row[number]) for name, number in key},
                **{name: row[number] for name, number in shown.items()},
            )
            for row in answer.all()
        ]

    def _refusal(self, error: sa.exc.DBAPIError) -> MemosAssetsError | None:
        """Return the error for the caller of a search; None for other errors of the driver."""
        cause = error.orig
        if isinstance(cause, psycopg.errors.InvalidParameterValue):
            code, _, rest = first_line(cause).partition(" ")
            where, _, what = rest.partition(": ")
            what, _, fix = what.partition(". Fix: ")
            if code.startswith(("M57", "M590")) and fix:
                return UsageError(code, what, where=where, fix=fix)
        if isinstance(cause, psycopg.errors.UndefinedTable) and self.table.live:
            return absent_error(f"table {self.table.name}")
        if isinstance(cause, psycopg.errors.UndefinedFunction | psycopg.errors.InvalidSchemaName):
            return TargetError(
                "M326",
                "the database has no such search function",
                where=f"{self.table.function_schema}, table {self.table.name}",
                fix="make them: memos-assets consolidate, or materialise memos/search_functions",
            )
        return None

    def _need_words(self, conn: sa.Connection) -> None:
        """Refuse a text of stop words or signs alone, where the text is all that was searched for.

        The functions do so themselves for a search by words.
        """
        if self.values.keys() & {"embedding", "sparse"} or "query" not in self.values:
            return
        text = self.values["query"]
        asked = sa.func.numnode(sa.text(f"{self.table.function_schema}.search_query(:text, false)"))
        if isinstance(text, str) and not conn.scalar(sa.select(asked), {"text": text}):
            raise UsageError(
                "M574",
                f"{shown_value(text)} has no word to search for",
                where=f"table {self.table.name}",
                fix="pass words other than stop words",
            )

    def _need_keys(self, conn: sa.Connection) -> None:
        """Refuse a filter on a key that no row has: no row would ever pass it."""
        place = self.table
        for column, value in self.filters.items():
            rows = sa.table(place.name, sa.column(column), schema=place.schema)
            for key in value if isinstance(value, dict) else ():
                has = sa.exists().select_from(rows).where(rows.c[column].op("?")(key))
                if not conn.execute(sa.select(has)).scalar_one():
                    raise UsageError(
                        "M575",
                        f"no row has the key {key!r} in {column}",
                        where=f"table {place.name}",
                        fix="filter by a key that rows have, spelt as they spell it",
                    )


@lru_cache(maxsize=256)
def _calling(schema: str, function: str, types: tuple[tuple[str, str], ...]) -> sa.TextClause:
    """Return the call of a function with named arguments, each cast to its type."""
    # Types of pgvector may be in any schema: the function's argument says which.
    given = ", ".join(
        f"{name} => :{name}"
        if type_name in VECTOR_TYPES
        else f"{name} => cast(:{name} as {type_name})"
        for name, type_name in types
    )
    return sa.text(f"select * from {schema}.{function}({given})")


def _call(
    kind: str,
    place: Table,
    k: int,
    owner: str | None,
    filters: Mapping[str, Any] | None,
    arguments: Mapping[str, tuple[str, Any]],
) -> Call:
    if not isinstance(k, Integral) or isinstance(k, bool) or not 1 <= k <= MOST_HITS:
        raise UsageError(
            "M573", f"k is {k!r}", where=f"table {place.name}", fix=f"ask for 1 to {MOST_HITS} rows"
        )
    named = {"k": ("integer", int(k)), **arguments}
    if owner is not None and place.owner is None:
        raise UsageError(
            "M580",
            "rows of this table have no owner, so a search cannot be filtered by one",
            where=f"table {place.name}",
            fix="leave the owner out",
        )
    if owner is not None:
        named[f"of_{place.owner}"] = ("text", owner)
    for column in filters or ():
        if column not in place.filters:
            known = ", ".join(place.filters) or "none"
            raise UsageError(
                "M580",
                f"searches of this table cannot be filtered by {column!r}",
                where=f"table {place.name}",
                fix=f"use one of: {known}",
            )
    for column, value in (filters or {}).items():
        named[f"{column}_contains"] = ("jsonb", _json(place, value))
    types = tuple((name, type_name) for name, (type_name, _) in named.items())
    return Call(
        place,
        _calling(place.function_schema, f"{kind}_{place.name}", types),
        {name: value for name, (_, value) in named.items()},
        filters or {},
    )


def _checked(place: Table, embedding: Embedding) -> QueryEmbedding:
    """Return an embedding as it is searched for, each element as the nearest float32.

    Raises:
        UsageError: M571 no index serves its dimension; M572 it is empty, not finite, or zero.
    """
    try:
        with np.errstate(over="ignore"):
            elements = np.asarray(embedding, dtype=np.float32, order="C")
        odd = "" if elements.ndim == 1 and elements.size else f"of shape {elements.shape}"
    except (TypeError, ValueError):
        odd = f"that is not made of numbers ({type(embedding).__name__})"
    if odd:
        raise UsageError(
            "M572",
            f"an embedding {odd}",
            where=f"table {place.name}",
            fix="pass one embedding, a sequence of numbers",
        )
    place.index_for(elements.size)
    wrong = "numbers that are NaN or infinite" if not np.isfinite(elements).all() else ""
    wrong = wrong or ("nothing but zeros" if not elements.any() else "")
    if wrong:
        raise UsageError(
            "M572",
            f"an embedding of {wrong}, which is near to nothing",
            where=f"table {place.name}",
            fix="embed the query again; memOS stores zeros when that failed",
        )
    return query_embedding(elements, place.stored)


def _need_text(place: Table, text: str) -> None:
    if place.text_index is None:
        raise UsageError(
            "M576",
            "the table has no text that is searched",
            where=f"table {place.name}",
            fix="search it by an embedding",
        )
    if not text.strip():
        raise UsageError(
            "M574", "an empty query", where=f"table {place.name}", fix="pass words to search for"
        )


def _found(table: Table | str) -> Table:
    """Return a table by its name in memOS's catalog, or the table itself."""
    return searchable(table, MEMOS.searchable) if isinstance(table, str) else table


def by_embedding(
    table: Table | str,
    embedding: Embedding,
    k: int,
    owner: str | None,
    filters: Mapping[str, Any] | None,
) -> Call:
    """Return a search by embedding; raises as `api.search`."""
    place = _found(table)
    requested = _checked(place, embedding)
    return _call("search", place, k, owner, filters, {"query": (requested.stored, requested)})


def by_text(
    table: Table | str, text: str, k: int, owner: str | None, filters: Mapping[str, Any] | None
) -> Call:
    """Return a search by words; raises as `api.match`."""
    place = _found(table)
    _need_text(place, text)
    return _call("match", place, k, owner, filters, {"query": ("text", storable_text(text))})


def by_both(
    table: Table | str,
    text: str,
    embedding: Embedding | None,
    k: int,
    owner: str | None,
    filters: Mapping[str, Any] | None,
    sparse: Mapping[str, float] | None,
    vocabulary: str,
    fusion: Fusion,
) -> Call:
    """Return a search by both; raises as `api.hybrid`."""
    place = _found(table)
    _need_text(place, text)
    arguments: dict[str, tuple[str, Any]] = {"query": ("text", storable_text(text))}
    if embedding is not None:
        requested = _checked(place, embedding)
        arguments["embedding"] = (requested.stored, requested)
    if sparse is not None:
        if place.sparse is None:
            raise UsageError(
                "M576",
                "the table has no sparse weights",
                where=f"table {place.name}",
                fix="leave sparse weights out",
            )
        arguments["sparse"] = ("jsonb", _json(place, dict(sparse)))
        arguments["vocabulary"] = ("text", vocabulary)
    if fusion not in get_args(Fusion):
        raise UsageError(
            "M590",
            f"fusion is {fusion!r}",
            where=f"table {place.name}",
            fix="pass scores or rrf",
        )
    if fusion != "scores":
        arguments["fusion"] = ("text", fusion)
    return _call("hybrid", place, k, owner, filters, arguments)


def _json(place: Table, value: Any) -> str:
    """Return JSON that PostgreSQL takes; no row contains NaN, NUL or half a surrogate pair.

    Raises:
        UsageError: M580 for any other value.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        text = "\\u0000"
    if "\\u0000" in text:
        raise UsageError(
            "M580",
            "a value that JSON in PostgreSQL cannot contain",
            where=f"table {place.name}",
            fix="pass text, finite numbers, lists and objects of them",
        )
    return text
