"""Search as people use it, against the truth of the files: what it finds, and how long it takes.

Every query is the very statement that search sends, under the settings of a search, in the schema
that is being proven. The ground truth is computed from SQLite's pinned copies.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Table, TableSpec, VectorColumn, VectorIndex
from memos_assets.check import CheckContext
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.proof.search.asked import Answer, Asked
from memos_assets.proof.search.probes import Probe, choose
from memos_assets.proof.search.source_neighbours import SMALL, Truth, walk
from memos_assets.proof.search.source_rows import Key, source_rows
from memos_assets.search.plans import under
from memos_assets.search.queries import exhaustive, nearest, search_settings

#: Neighbours that are asked for.
K = 10
#: Exact scans that are timed per index: at least so many, then as many as fit in these seconds.
_LEAST_SCANS, _SCAN_SECONDS = 3, 0.1


def ask_table(context: CheckContext, spec: TableSpec) -> dict[str, Asked]:
    """Query PostgreSQL by every vector index of a table, and read the table's sources once.

    Returns:
        Index -> its queries, results and ground truth.

    Raises:
        SourceError: M107 when a pinned copy is gone.
    """
    kind = context.catalog.kind_of_table(spec.name)
    with context.engine.connect() as conn:
        sources = registry.registered_sources(conn, [kind])
        pins = [registry.pin_required(conn, source) for source in sources]
        return {
            asked.index.name: asked
            for vector in spec.vectors
            if vector.indexed
            for asked in _asked(conn, spec, vector, pins)
        }


def _asked(
    conn: sa.Connection, spec: TableSpec, vector: VectorColumn, pins: Sequence[Pin]
) -> list[Asked]:
    """Return what PostgreSQL and the files say of every index of a column."""
    indexes, table = vector.indexes(spec.name), spec.as_table
    with source_rows(conn, spec, vector, pins) as readings:
        probes = choose(readings, indexes)
        answers = {
            i.dimension: _answers(conn, table, i, probes.get(i.dimension, ())) for i in indexes
        }
        returned = {
            dimension: [answer.keys for answer in answers[dimension]] for dimension in probes
        }
        truth = walk(readings, probes, returned, K)
    everything = {
        index.dimension: _everything(conn, table, index, probes[index.dimension][0])
        for index in indexes
        if index.dimension in probes and truth.dimensions[index.dimension].rows <= SMALL
    }
    stored = _stored(conn, spec, vector)
    return [
        Asked(
            index=index,
            probes=probes.get(index.dimension, ()),
            answers=answers[index.dimension],
            scans_ms=_scans(conn, table, index, probes.get(index.dimension, ())),
            truth=truth.dimensions.get(index.dimension, Truth()),
            everything=everything.get(index.dimension),
            without=truth.without,
            source_reasons=dict(sorted(truth.reasons.items())),
            stored_reasons=stored.reasons,
            rows=stored.rows[index.dimension],
            zeros=stored.zeros[index.dimension],
            pins={pin.source: pin.digest for pin in pins},
        )
        for index in indexes
    ]


def _answers(
    conn: sa.Connection, table: Table, index: VectorIndex, probes: Sequence[Probe]
) -> list[Answer]:
    """Search for every query, as people do; the first one is asked twice, to warm up."""
    schema = schema_in(conn, table.schema)
    driver = driver_of(conn)
    with under(conn, search_settings(K)):
        statements = {
            filtered: nearest(table, index, schema, filtered=filtered).as_bytes(driver)
            for filtered in (False, True)
        }
        found = [
            _ask(driver, statements[bool(probe.filters)], _values(table, probe, K))
            for probe in (*probes[:1], *probes)
        ]
    return found[1:]


def _everything(conn: sa.Connection, table: Table, index: VectorIndex, probe: Probe) -> Answer:
    """Ask a small index for all that it has, and for more than that."""
    k = SMALL + 1
    driver = driver_of(conn)
    with under(conn, search_settings(k)):
        statement = nearest(table, index, schema_in(conn, table.schema)).as_bytes(driver)
        return _ask(driver, statement, _values(table, probe, k))


def _scans(
    conn: sa.Connection, table: Table, index: VectorIndex, probes: Sequence[Probe]
) -> list[float]:
    """Return how long exact scans take, in milliseconds; what is found is not looked at."""
    times: list[float] = []
    plain = [probe for probe in probes if not probe.filters]
    scan = {"enable_indexscan": "off", "enable_bitmapscan": "off", "jit": "off"}
    driver = driver_of(conn)
    with under(conn, scan):
        statement = exhaustive(table, index, schema_in(conn, table.schema)).as_bytes(driver)
        for probe in plain[:1] + plain:
            times.append(_ask(driver, statement, {"embedding": probe.text, "k": K}).milliseconds)
            if len(times) > _LEAST_SCANS and sum(times) > _SCAN_SECONDS * 1e3:
                break
    return times[1:]


def _values(table: Table, probe: Probe, k: int) -> dict[str, object]:
    narrowed = {
        name: value if name == table.owner else json.dumps(value)
        for name, value in probe.filters.items()
    }
    return dict.fromkeys(table.filter_columns) | narrowed | {"embedding": probe.text, "k": k}


def _ask(driver: psycopg.Connection, statement: bytes, values: Mapping[str, object]) -> Answer:
    started = time.perf_counter()
    # Planned for its values, as the functions plan theirs.
    rows = driver.execute(statement, values, prepare=False).fetchall()
    milliseconds = (time.perf_counter() - started) * 1e3
    return Answer([(_key(row[:-1]), _distance(row[-1])) for row in rows], milliseconds)


def _distance(value: float | None) -> float:
    """Return a distance; NaN where there is none, which is wrong whatever it is compared with."""
    return math.nan if value is None else float(value)


def _key(values: Sequence[object]) -> Key:
    return tuple(map(str, values))


@dataclass(slots=True)
class _Stored:
    """What PostgreSQL holds in an embedding column."""

    reasons: dict[str, int] = field(default_factory=dict)
    rows: Counter[int] = field(default_factory=Counter)
    zeros: Counter[int] = field(default_factory=Counter)


def _stored(conn: sa.Connection, spec: TableSpec, vector: VectorColumn) -> _Stored:
    """Count embeddings by dimension and NULLs by reason, whatever else the row says of them."""
    statement = sql.SQL(
        "select {reason}, vector_dims({column}), count(*), count(*) filter (where {norm} = 0) "
        "from {table} group by 1, 2 order by 1, 2"
    ).format(
        reason=sql.Identifier(vector.reason_name),
        column=sql.Identifier(vector.name),
        norm=sql.SQL("l2_norm({})" if vector.stored == "halfvec" else "vector_norm({})").format(
            sql.Identifier(vector.name)
        ),
        table=sql.Identifier(schema_in(conn, spec.schema), spec.name),
    )
    stored = _Stored()
    for reason, dimension, rows, zeros in driver_of(conn).execute(statement):
        if dimension is None:
            stored.reasons[str(reason)] = rows
        else:
            stored.rows[dimension] += rows
            stored.zeros[dimension] += zeros
    return stored
