"""Search indexes as PostgreSQL has them, with their builds and the results of EXPLAIN."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Catalog, Table
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import search_indexes, state_of
from memos_assets.postgres.application.presence import application_is_absent
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.report.charts import Chart, Point, log_chart
from memos_assets.report.formatting import moment, number
from memos_assets.report.outcomes import CheckResult, Evaluation
from memos_assets.report.tree import IndexUse

#: Key of the evidence of checks that say whether an index is usable and chosen.
_PLANNED = "usable"
#: The same of the check that measures recall and latency, and the names of its measures.
_MEASURED = "recall"
_MEASURES = ("recall", "search_p50_ms", "search_p95_ms", "scan_p50_ms", "scan_p95_ms")


@dataclass(frozen=True, slots=True)
class Build:
    """The latest build of an index.

    Attributes:
        seconds: that it took.
        timestamp: when it was, seconds since 1970.
        forecast_seconds: the forecast of ``seconds``; None without a forecast.
    """

    seconds: float
    timestamp: float
    forecast_seconds: float | None = None


def index_uses(
    conn: sa.Connection,
    catalog: Catalog,
    checklist: Iterable[CheckResult],
    builds: Mapping[str, Build],
) -> tuple[IndexUse, ...]:
    """Return every index of the catalog; none of memOS's tables where these are absent."""
    checklist = list(checklist)
    planned, measured = _latest(checklist, _PLANNED), _latest(checklist, _MEASURED)
    found: list[IndexUse] = []
    absent = application_is_absent(conn)
    for spec in catalog.indexed:
        if spec.live and absent:
            continue
        methods = _methods(spec)
        served = _served(conn, spec)
        for index in search_indexes(spec):
            method, dimension = methods[index.name]
            state, build = state_of(conn, index.name, index.schema), builds.get(index.name)
            usable, chosen = _planner(planned.get(index.name))
            found.append(
                IndexUse(
                    index=index.name,
                    table=index.table,
                    strategy=index.strategy,
                    method=method,
                    dimension=dimension,
                    rows=served.get(index.name, 0),
                    bytes=state.bytes if state else 0,
                    valid=state is not None and state.valid,
                    build_seconds=build.seconds if build else None,
                    forecast_seconds=build.forecast_seconds if build else None,
                    built_at=moment(build.timestamp) if build else None,
                    usable=usable,
                    chosen=chosen,
                    **_measures(measured.get(index.name)),
                )
            )
    return tuple(found)


def _latest(checklist: Iterable[CheckResult], evidence: str) -> dict[str, Evaluation]:
    """Return index -> the latest evaluation with evidence of this name."""
    return {
        evaluation.asset.rpartition("/")[2]: evaluation
        for result in checklist
        for evaluation in result.evaluations
        if evidence in evaluation.metadata
    }


def _measures(evaluation: Evaluation | None) -> dict[str, float]:
    if evaluation is None or evaluation.stale:
        return {}
    known = ((name, evaluation.metadata.get(name)) for name in _MEASURES)
    return {name: float(value) for name, value in known if isinstance(value, int | float)}


def _methods(spec: Table) -> dict[str, tuple[str, int | None]]:
    """Return index -> method and dimension."""
    methods: dict[str, tuple[str, int | None]] = {
        gin_name(spec.name, column): ("gin", None) for column in spec.searched
    }
    if spec.text_index:
        methods[spec.text_index] = ("gin", None)
    return methods | {index.name: (index.method, index.dimension) for index in spec.vector_indexes}


def _planner(evaluation: Evaluation | None) -> tuple[bool | None, bool | None]:
    if evaluation is None or evaluation.stale:
        return None, None
    usable, chosen = evaluation.metadata.get("usable"), evaluation.metadata.get("chosen")
    return (
        usable if isinstance(usable, bool) else None,
        chosen if isinstance(chosen, bool) else None,
    )


def _served(conn: sa.Connection, table: Table) -> dict[str, int]:
    """Count the rows that each index of a table serves, in one pass over the table."""
    indexes = search_indexes(table)
    if not indexes:
        return {}
    counts = [sql.SQL("count(*) filter (where {})").format(index.condition) for index in indexes]
    place = sql.Identifier(schema_in(conn, table.schema), table.name)
    statement = sql.SQL("select {} from {}").format(sql.SQL(", ").join(counts), place)
    row = driver_of(conn).execute(statement).fetchone()
    assert row is not None
    return {index.name: int(count) for index, count in zip(indexes, row, strict=True)}


def latency_chart(indexes: Iterable[IndexUse]) -> Chart:
    """Return medians of searches and of exact scans over rows, one point of each per index."""
    measured = [index for index in indexes if index.rows]

    def medians(name: str, what: str) -> list[Point]:
        return [
            Point(index.rows, ms, f"{index.index}, {number(index.rows)} rows: {what} {ms} ms")
            for index in measured
            if (ms := getattr(index, name))
        ]

    return log_chart(
        "Median milliseconds of a search and of an exact scan, over rows of the index",
        "rows",
        "milliseconds, median",
        {
            "exact scan": medians("scan_p50_ms", "scan"),
            "search by index": medians("search_p50_ms", "search"),
        },
        joined=False,
    )
