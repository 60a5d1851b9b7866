"""The latest evaluation of every check, kept in the database that it is about."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import Checklist
from memos_assets.checklist import PROOF
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert
from memos_assets.report.outcomes import CheckResult, Evaluation, check_results

Kept = TypeVar("Kept")

#: Characters that jsonb refuses: NUL and halves of surrogate pairs, as JSON escapes.
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f][0-9a-f]{2})")


def record(conn: sa.Connection, catalog: Catalog, evaluations: Iterable[Evaluation]) -> None:
    """Store evaluations; each replaces the former one of its check and asset."""
    rows = [
        {
            "target": tables.schema_in(conn, catalog.schema),
            "asset": evaluation.asset,
            "claim": evaluation.check,
            "passed": evaluation.passed,
            "severity": evaluation.severity,
            "expected": _storable(evaluation.expected),
            "observed": _storable(evaluation.observed),
            "evidence": _storable(dict(evaluation.metadata)),
            "run_id": evaluation.run_id,
            "began_at": datetime.fromtimestamp(evaluation.began, UTC),
            "evaluated_at": datetime.fromtimestamp(evaluation.timestamp, UTC),
        }
        for evaluation in evaluations
    ]
    if rows:
        conn.execute(upsert(tables.evaluations), rows)


def _storable(value: Kept) -> Kept:
    """Return a value of strings and numbers without the characters that PostgreSQL refuses."""
    kept: Kept = json.loads(_UNSTORABLE.sub(r"\\ufffd", json.dumps(value)))
    return kept


def latest(conn: sa.Connection, catalog: Catalog) -> list[Evaluation]:
    """Return the latest evaluation of each check on each asset that was evaluated."""
    entry = tables.evaluations.c
    rows = conn.execute(
        sa.select(tables.evaluations, entry["claim"].label("check_name")).where(
            entry.target == tables.schema_in(conn, catalog.schema)
        )
    )
    return [
        Evaluation(
            asset=row.asset,
            check=row.check_name,
            passed=row.passed,
            expected=row.expected,
            observed=row.observed,
            run_id=row.run_id,
            timestamp=row.evaluated_at.timestamp(),
            severity=row.severity,
            began=row.began_at.timestamp(),
            metadata=row.evidence,
        )
        for row in rows
    ]


def checklist_results(
    conn: sa.Connection,
    catalog: Catalog,
    assets: Collection[str] | None = None,
    checklist: Checklist = PROOF,
) -> list[CheckResult]:
    """Return the latest result of every check; loads and pins since make it stale.

    Args:
        conn: to the target database.
        catalog: of the application.
        assets: assets to include; None for all.
        checklist: checks to include; by default those that decide on a consolidation.
    """
    places = [place for place in checklist.places(catalog) if assets is None or place[0] in assets]
    return check_results(checklist, places, latest(conn, catalog), last_changes(conn, catalog))


def last_changes(conn: sa.Connection, catalog: Catalog) -> Mapping[str, float]:
    """Return asset -> when it was last loaded, or its source last pinned, seconds since 1970."""
    entry, source, pin = tables.chunks.c, tables.sources.c, tables.pins.c
    loaded: dict[str, float] = {
        table: moment.timestamp()
        for table, moment in conn.execute(
            sa.select(entry.table_name, sa.func.max(entry.loaded_at))
            .where(entry.target == tables.schema_in(conn, catalog.schema))
            .group_by(entry.table_name)
        )
    }
    pinned: dict[str, float] = {
        kind: moment.timestamp()
        for kind, moment in conn.execute(
            sa.select(source.kind, sa.func.max(pin.pinned_at))
            .join(
                tables.pins, sa.and_(pin.source == source.source, pin.digest == source.pin_digest)
            )
            .group_by(source.kind)
        )
    }
    changed: dict[str, float] = {}
    names = catalog.names
    for kind in catalog.consolidated:
        of_source = pinned.get(kind.name, 0.0)
        changed[names.source(kind.name)] = of_source
        for spec in kind.tables:
            of_rows = loaded.get(spec.name, 0.0)
            changed[names.table(spec.name)] = max(of_rows, of_source)
            for index in search_indexes(spec.as_table):
                changed[names.index(index.name)] = changed[names.table(spec.name)]
    adopted: dict[str, float] = {
        name: moment.timestamp()
        for name, moment in conn.execute(
            sa.select(
                tables.application_tables.c.table_name, tables.application_tables.c.adopted_at
            )
        )
    }
    for asset, specs in catalog.application.items():
        changed[names.table(asset)] = max(adopted.get(table.name, 0.0) for table in specs)
        for table in specs:
            for index in search_indexes(table.as_table):
                changed[names.index(index.name)] = adopted.get(table.name, 0.0)
    return changed
