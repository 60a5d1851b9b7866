"""Which index serves the catalog's own queries, by PostgreSQL's EXPLAIN."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog import Column, Table, VectorIndex
from memos_assets.finding import Finding
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import SearchIndex, is_as_described, state_of
from memos_assets.postgres.connection import driver_of, put_in_force
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.search.queries import SEARCH_SETTINGS, containing, nearest
from memos_assets.search.text_queries import matching, with_terms

#: From this many indexed rows on, the planner must choose the index by itself, under the settings
#: of a search. On the plan-scale demo it did so from 49 rows to 8,705 (2026-11-24); below this a
#: scan of a handful of rows is as good.
CHOSEN_FROM_ROWS = 1_000

#: Scans that read the rows of another node of a plan.
_INDIRECT_SCANS = frozenset({"CTE Scan", "Bitmap Heap Scan", "Subquery Scan"})

Plan = Mapping[str, Any]


def plan_nodes(plan: Plan) -> Iterator[Plan]:
    """Yield a plan node and every node under it, outermost first."""
    yield plan
    for child in plan.get("Plans", ()):
        yield from plan_nodes(child)


def index_is_valid(conn: sa.Connection, index: SearchIndex) -> Finding:
    """V06: the index exists, is valid and ready, and was built as the catalog defines it."""
    state = state_of(conn, index.name, index.schema)
    observed = "missing" if state is None else ("valid" if state.valid else "invalid")
    if observed == "valid" and not (index.is_built(state) and is_as_described(conn, index)):
        observed = "valid, but built by another definition"
    evidence = {} if state is None else {"definition": state.definition, "bytes": state.bytes}
    return Finding(observed == "valid", "valid", observed, evidence)


def nearest_uses_index(
    conn: sa.Connection, table: Table, index: VectorIndex, rows: int, k: int = 10
) -> Finding:
    """V07: the k-nearest query is served by the index of its dimension, with and without filters.

    The index must always be usable, with every offered filter, too; from ``CHOSEN_FROM_ROWS`` rows
    on PostgreSQL must also choose it for an unfiltered search. A filter that few rows pass is
    better served by an index on its own column.

    Args:
        conn: in a transaction, whose planner settings are changed for this question.
        table: that is searched.
        index: the strategy.
        rows: rows that the index serves.
        k: neighbours asked for.
    """
    schema = schema_in(conn, table.schema)
    values = {"embedding": json.dumps([1.0] * index.dimension), "k": k}
    ways: dict[str, dict[str, Any]] = {"": values}
    for name in table.filter_columns:
        part = "a" if name == table.owner else '{"a": 1}'
        ways[name] = dict.fromkeys(table.filter_columns) | values | {name: part}
    usable, chosen = {}, {}
    driver = driver_of(conn)
    with under(conn, SEARCH_SETTINGS):
        for name, bound in ways.items():
            query = nearest(table, index, schema, filtered=bool(name), hits=True)
            chosen[name] = _scans(plan_of(driver, query, bound))
            with under(conn, without("seqscan", "bitmapscan", "sort")):
                usable[name] = _scans(plan_of(driver, query, bound))
    must_choose = rows >= CHOSEN_FROM_ROWS
    not_usable = [name for name, scans in usable.items() if index.name not in scans]
    is_chosen = index.name in chosen[""]
    seen = [f"usable {', '.join(usable[''])}", f"chosen {', '.join(chosen[''])}"]
    seen += [f"filtered by {name}: {', '.join(usable[name])}" for name in not_usable if name]
    return Finding(
        not not_usable and (is_chosen or not must_choose),
        expected=f"{index.name}{' chosen' if must_choose else ' usable'}",
        observed="; ".join(seen),
        evidence={
            "rows": rows,
            "k": k,
            "operator": index.operator,
            "strategy": index.strategy,
            "usable": not not_usable,
            "chosen": is_chosen,
            "by_filter": [
                {
                    "filter": name or "none",
                    "usable": index.name in usable[name],
                    "chosen": ", ".join(chosen[name]),
                }
                for name in ways
            ],
        },
    )


def containment_uses_index(conn: sa.Connection, table: Table, column: Column) -> Finding:
    """V11: a search on a JSON column, by containment or by keys, can be served by its GIN index."""
    name = gin_name(table.name, column)
    driver = driver_of(conn)
    with under(conn, without("seqscan", "indexscan")):
        query = containing(table, column, schema_in(conn, table.schema))
        part: str | list[str] = '{"a": 1}' if column.searched == "containment" else ["a"]
        usable = _scans(plan_of(driver, query, {"part": part}))
    found = name in usable
    return Finding(
        found, f"{name} usable", f"usable {', '.join(usable)}", evidence={"usable": found}
    )


def text_search_uses_index(conn: sa.Connection, table: Table) -> Finding:
    """V19: the full-text query that search sends can be served by the table's GIN index."""
    assert table.text_index is not None, f"{table.name} has no text to search"
    code = "'srvo-062'"
    unknown = dict.fromkeys(("documents", "mean_words", "frequencies"))
    values = {"query": code, "ranking": code, "terms": [code], "k": 10, **unknown}
    query = with_terms(matching(table, schema_in(conn, table.schema)), [True])
    driver = driver_of(conn)
    with under(conn, without("seqscan", "indexscan")):
        usable = _scans(plan_of(driver, query, values))
    found = table.text_index in usable
    return Finding(
        found,
        f"{table.text_index} usable",
        f"usable {', '.join(usable)}",
        evidence={"usable": found},
    )


def plan_of(driver: psycopg.Connection, query: sql.Composed, values: Mapping[str, Any]) -> Plan:
    """Return EXPLAIN's plan for a query with these values; the query is not run."""
    row = driver.execute(
        sql.SQL("explain (format json, costs off) {}").format(query), values
    ).fetchone()
    assert row is not None
    plan: Plan = row[0][0]["Plan"]
    return plan


def _scans(plan: Plan) -> list[str]:
    """Name the index that each scan of a plan reads, or the kind of scan."""
    return [
        str(node.get("Index Name") or node["Node Type"])
        for node in plan_nodes(plan)
        if "Scan" in node["Node Type"] and node["Node Type"] not in _INDIRECT_SCANS
    ]


@contextmanager
def under(conn: sa.Connection, settings: Mapping[str, str]) -> Iterator[None]:
    """Put settings in force for a block, inside a savepoint that is rolled back."""
    savepoint = conn.begin_nested()
    try:
        put_in_force(conn, settings)
        yield
    finally:
        savepoint.rollback()


def without(*methods: str) -> dict[str, str]:
    """Return the settings that keep the planner from some methods."""
    return {f"enable_{method}": "off" for method in methods}
