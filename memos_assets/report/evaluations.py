"""What stands proven: the latest evaluation of every claim, kept in the database it is about."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from memos_assets.asset_names import (
    LIVE_VERSION,
    SEARCH_FUNCTIONS,
    archive_name,
    index_name,
    source_name,
    table_name,
)
from memos_assets.catalog import CONSOLIDATED_KINDS, INDEXED, MAINTAINED, IndexedTable
from memos_assets.catalog.application import APPLICATION_ASSETS
from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.archive.checks import GROUPS
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert
from memos_assets.proof.rows.checks import claims_about
from memos_assets.proof.search.recall import CLAIMS_ABOUT_SEARCH
from memos_assets.report.outcomes import ClaimOutcome, Evaluation, outcomes

Kept = TypeVar("Kept")

#: What jsonb refuses: NUL and halves of surrogate pairs, as JSON escapes.
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f][0-9a-f]{2})")


def health_claims_made() -> Iterator[tuple[str, str]]:
    """Yield (asset, claim) for every claim about health; no verdict waits for any of them."""
    for spec in MAINTAINED:
        yield table_name(spec.name), "v20_tables_are_vacuumed"
        yield table_name(spec.name), "v23_statistics_are_there"
        for index in spec.vector_indexes:
            yield index_name(index.name), "v21_recall_has_not_drifted"
        for search_index in search_indexes(spec):
            yield index_name(search_index.name), "v24_indexes_are_used"
    yield LIVE_VERSION, "v22_no_index_is_left_invalid"


def claims_made() -> Iterator[tuple[str, str]]:
    """Yield (asset, claim) for every claim that proves a consolidation, and what it is about."""
    of_sources = [claim.name for claim in CHECKLIST if claim.scope == "source"]
    for kind in CONSOLIDATED_KINDS:
        yield from ((source_name(kind.name), name) for name in of_sources)
        for spec in kind.tables:
            yield from ((table_name(spec.name), name) for name in claims_about(spec))
            for index in spec.vector_indexes:
                yield from ((index_name(index.name), name) for name in CLAIMS_ABOUT_SEARCH)
    for indexed in INDEXED:
        yield from ((index_name(index), claim) for index, claim in claims_about_indexes(indexed))
    yield from (
        (table_name(name), "v25_application_tables_are_whole") for name in APPLICATION_ASSETS
    )
    yield from ((archive_name(group), "v13_archived_files_are_whole") for group in GROUPS)
    yield LIVE_VERSION, "v14_live_version_is_complete"
    yield SEARCH_FUNCTIONS, "v15_search_functions_are_ours"


def claims_about_indexes(spec: IndexedTable) -> Iterator[tuple[str, str]]:
    """Yield (index, claim) for every claim about the search indexes of a table."""
    for search_index in search_indexes(spec):
        yield search_index.name, "v06_index_is_valid"
    for index in spec.vector_indexes:
        yield index.name, "v07_nearest_uses_index"
    for column in spec.searched:
        yield gin_name(spec.name, column), "v11_containment_uses_index"
    if spec.text_index:
        yield spec.text_index, "v19_text_search_uses_index"


def record(conn: sa.Connection, evaluations: Iterable[Evaluation]) -> None:
    """Write evaluations down, each in the place of the former one of its claim and asset."""
    rows = [
        {
            "target": tables.data_schema(conn),
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


def latest(conn: sa.Connection) -> list[Evaluation]:
    """Return the latest evaluation of each claim about each asset that was evaluated."""
    rows = conn.execute(
        sa.select(tables.evaluations).where(tables.evaluations.c.target == tables.data_schema(conn))
    )
    return [
        Evaluation(
            asset=row.asset,
            check=row.claim,
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


def evidence_of(conn: sa.Connection, claim: str) -> dict[str, Mapping[str, Any]]:
    """Return asset -> evidence of the latest evaluation of a claim."""
    entry = tables.evaluations.c
    rows = conn.execute(
        sa.select(entry.asset, entry.evidence).where(
            entry.target == tables.data_schema(conn), entry.claim == claim
        )
    )
    return {row.asset: row.evidence for row in rows}


def checklist_outcomes(
    conn: sa.Connection, assets: Collection[str] | None = None
) -> list[ClaimOutcome]:
    """Return the latest outcome of every claim that proves; loads and pins since make it stale.

    Args:
        conn: to the target database.
        assets: those that are meant; all where it is None.
    """
    made = [place for place in claims_made() if assets is None or place[0] in assets]
    return outcomes(made, latest(conn), last_changes(conn))


def last_changes(conn: sa.Connection) -> Mapping[str, float]:
    """Return asset -> when it was last loaded, or its source last pinned, seconds since 1970."""
    entry, source, pin = tables.chunks.c, tables.sources.c, tables.pins.c
    loaded: dict[str, float] = {
        table: moment.timestamp()
        for table, moment in conn.execute(
            sa.select(entry.table_name, sa.func.max(entry.loaded_at))
            .where(entry.target == tables.data_schema(conn))
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
    for kind in CONSOLIDATED_KINDS:
        of_source = pinned.get(kind.name, 0.0)
        changed[source_name(kind.name)] = of_source
        for spec in kind.tables:
            of_rows = loaded.get(spec.name, 0.0)
            changed[table_name(spec.name)] = max(of_rows, of_source)
            for index in search_indexes(spec):
                changed[index_name(index.name)] = changed[table_name(spec.name)]
    adopted: dict[str, float] = {
        name: moment.timestamp()
        for name, moment in conn.execute(
            sa.select(
                tables.application_tables.c.table_name, tables.application_tables.c.adopted_at
            )
        )
    }
    for asset, specs in APPLICATION_ASSETS.items():
        changed[table_name(asset)] = max(adopted.get(table.name, 0.0) for table in specs)
        for table in specs:
            for index in search_indexes(table):
                changed[index_name(index.name)] = adopted.get(table.name, 0.0)
    return changed
