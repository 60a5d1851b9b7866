"""Search as a person does: a text or a row, one table or every table that fits.

Chooses the search of each table, runs it through `api`, and names the index that served it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from memos_assets.catalog import Table
from memos_assets.errors import UsageError
from memos_assets.indexes.definitions import state_of
from memos_assets.postgres.application.presence import absent_error, application_is_absent
from memos_assets.postgres.connection import has_rows
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.search import api
from memos_assets.search.by_row import QueryRow, only_row, rows_with_key
from memos_assets.search.embed import Vectors, check_fit, configured_embedder
from memos_assets.search.queries import placed
from memos_assets.search.searchable import MOST_HITS
from memos_assets.settings import Settings

Mode = Literal["hybrid", "text", "vector"]


@dataclass(frozen=True, slots=True)
class Question:
    """A search of one table; ``embedding`` is that of the text, or of the row ``from_row``."""

    text: str
    mode: Mode
    k: int
    source: str | None
    filters: Mapping[str, Any] | None
    embedding: Vectors | None = None
    from_row: QueryRow | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of one table.

    Attributes:
        table: that was searched.
        mode: of the search.
        k: most hits that were requested.
        hits: nearest or best first.
        served: the indexes that served the search, as text.
        milliseconds: from the statement to the last hit.
    """

    table: Table
    mode: str
    k: int
    hits: Sequence[api.Hit]
    served: str
    milliseconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object that ``--json`` writes."""
        return {
            "table": self.table.name,
            "mode": self.mode,
            "k": self.k,
            "served_by": self.served,
            "milliseconds": round(self.milliseconds, 3),
            "hits": [
                {
                    "key": dict(hit.key),
                    "distance": hit.distance,
                    "score": hit.score,
                    "text": hit.text,
                    "metadata": hit.metadata,
                }
                for hit in self.hits
            ],
        }


def questions_from_row(
    conn: sa.Connection, question: Question, like: str, among: Sequence[Table], only: Table | None
) -> list[tuple[Table, Question]]:
    """Return a search of each table that has a row of this key."""
    if only is not None:
        _refuse_absent(conn, only)
    tables = [only] if only else _present(conn, among, "vector", question)
    found: list[tuple[Table, Question]] = []
    for table in tables:
        if not table.vector_indexes:
            raise _no_embeddings(table)
        rows = rows_with_key(conn, table, like)
        if len(rows) > 1 and question.source is not None and table.owner:
            rows = [row for row in rows if row.key[table.owner] == question.source] or rows
        if not rows and only is None:
            continue
        row = only_row(rows, like, _where(table))
        found.append((table, replace(question, embedding=row.embedding, from_row=row)))
    if not found:
        only_row([], like, "every table")
    return found


def tables_for_text(
    conn: sa.Connection, question: Question, among: Sequence[Table], only: Table | None
) -> list[Table]:
    """Return the tables that a text is searched in.

    Raises:
        UsageError: M570 the only table is one of memOS, and these are absent.
    """
    if only is None:
        return _present(conn, among, question.mode, question)
    _refuse_absent(conn, only)
    return [only]


def questions_from_text(
    tables: Sequence[Table], question: Question, only: Table | None, settings: Settings
) -> tuple[list[tuple[Table, Question]], list[str]]:
    """Return the search of each table, and notes for the user.

    Text is embedded once, while no connection is open. A table that the embedder does not fit is
    searched by words; in mode ``vector`` it is left out.

    Raises:
        UsageError: M571 the only table has no embeddings; M577, M578 no embedder or no vector; M579
            the embedder does not fit the only table, or any table in mode ``vector``.
    """
    if question.mode == "vector" and only is not None and not only.vector_indexes:
        raise _no_embeddings(only)
    if question.mode == "text" or not any(table.vector_indexes for table in tables):
        return [(table, replace(question, mode="text")) for table in tables], []
    if settings.embedder is None and question.mode == "hybrid":
        note = "by words alone, not by meaning: no embedder is set (MEMOS_EMBEDDER)"
        return [(table, replace(question, mode="text")) for table in tables], [note]
    embedder = configured_embedder(settings)
    embedding = embedder.embed_query(question.text)
    misfits = {
        table.name: error
        for table in tables
        if table.vector_indexes and (error := misfit(table, embedder.model, len(embedding)))
    }
    if misfits and (
        only is not None or (question.mode == "vector" and len(misfits) == len(tables))
    ):
        raise next(iter(misfits.values()))
    asked = [
        (table, replace(question, embedding=embedding))
        if table.vector_indexes and table.name not in misfits
        else (table, replace(question, mode="text"))
        for table in tables
        if question.mode == "hybrid" or table.name not in misfits
    ]
    how = "by words alone" if question.mode == "hybrid" else "not searched"
    return asked, [
        f"{how}, because {embedder.model} does not fit: {', '.join(misfits)} "
        f"(such as {first.where}: {first.what})"
        for first in list(misfits.values())[:1]
    ]


def misfit(table: Table, model: str, dimension: int) -> UsageError | None:
    """Return why embeddings of a model do not fit a table that has some; None: they do."""
    models = {index.dimension: index.models for index in table.vector_indexes}
    try:
        check_fit(_where(table), models, model=model, dimension=dimension)
    except UsageError as error:
        return error
    return None


def _refuse_absent(conn: sa.Connection, table: Table) -> None:
    if table.live and application_is_absent(conn):
        raise absent_error(_where(table))


def _where(table: Table) -> str:
    return f"table {table.name}"


def _no_embeddings(table: Table) -> UsageError:
    return UsageError(
        "M571",
        "the table has no embeddings",
        where=_where(table),
        fix="search it by words: memos-assets search TEXT --mode text",
    )


def _present(
    conn: sa.Connection, among: Sequence[Table], mode: Mode, question: Question
) -> list[Table]:
    """Return the tables that exist and offer a mode; with a source, only those with sources."""
    return [
        table
        for table in among
        if (table.vector_indexes if mode == "vector" else table.text_index)
        and (question.source is None or table.owner == "source")
        and (not table.live or sa.inspect(conn).has_table(table.name, table.schema))
    ]


def ask_all(
    conn: sa.Connection, asked: Sequence[tuple[Table, Question]], *, alone: bool
) -> tuple[list[Answer], list[str]]:
    """Search every table; of several, those without the filter's key or column are left out."""
    answers: list[Answer] = []
    refusals: dict[str, UsageError] = {}
    for table, question in asked:
        try:
            answers.append(_ask(conn, table, question))
        except UsageError as error:
            if alone or error.code not in ("M575", "M580"):
                raise
            refusals[table.name] = error
    if not refusals:
        return answers, []
    first = next(iter(refusals.values()))
    if not answers:
        raise first
    return answers, [f"left out, because {first.what}: {', '.join(refusals)}"]


def _ask(conn: sa.Connection, table: Table, question: Question) -> Answer:
    more: dict[str, Any] = {"owner": question.source, "filters": _filters(table, question)}
    k = question.k
    if question.from_row is not None and 1 <= k < MOST_HITS:
        k += 1  # the row itself, which is not shown
    started = time.perf_counter()
    if question.mode == "text":
        hits = api.match(conn, table, question.text, k, **more)
    elif question.mode == "vector":
        assert question.embedding is not None
        hits = api.search(conn, table, question.embedding, k, **more)
    else:
        hits = api.hybrid(conn, table, question.text, question.embedding, k, **more)
    milliseconds = 1000 * (time.perf_counter() - started)
    if question.from_row is not None:
        hits = [hit for hit in hits if hit.key != question.from_row.key]
    return Answer(
        table,
        question.mode,
        question.k,
        hits[: question.k],
        _served(conn, table, question),
        milliseconds,
    )


def _filters(table: Table, question: Question) -> Mapping[str, Any] | None:
    """Return column -> JSON that it must contain; metadata for an object without a column."""
    if question.filters is None:
        return None
    if question.filters.keys() <= set(table.filters):
        return question.filters
    return {table.details or "metadata": question.filters}


def _served(conn: sa.Connection, table: Table, question: Question) -> str:
    """Name the indexes that serve a search, or those that are not built."""
    names = [] if question.mode == "vector" else [table.text_index]
    if question.embedding is not None:
        names.append(table.index_for(len(question.embedding)).name)
    said = []
    for name in filter(None, names):
        state = state_of(conn, name, table.schema)
        built = state is not None and state.valid
        said.append(f"index {name}" if built else f"a scan, because {name} is not built")
    return " and ".join(said)


def is_empty(conn: sa.Connection, table: Table) -> bool:
    """Whether a table has no rows."""
    return not has_rows(conn, placed(table, schema_in(conn, table.schema)))
