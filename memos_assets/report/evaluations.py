"""What stands proven: the latest evaluation of every claim, kept in the database it is about."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from memos_assets.catalog import Catalog, Table
from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.archive.checks import groups_of
from memos_assets.indexes.ddl import gin_name
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.schema import tables
from memos_assets.proof.rows.checks import claims_about
from memos_assets.proof.search.recall import CLAIMS_ABOUT_SEARCH
from memos_assets.report.outcomes import ClaimOutcome, Evaluation, outcomes

Kept = TypeVar("Kept")

#: What jsonb refuses: NUL and halves of surrogate pairs, as JSON escapes.
_UNSTORABLE = re.compile(r"\\u(?:0000|d[89a-f][0-9a-f]{2})")


def health_claims_made(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield (asset, claim) for every claim about health; no verdict waits for any of them."""
    names = catalog.names
    for spec in catalog.maintained:
        yield names.table(spec.name), "v20_tables_are_vacuumed"
        yield names.table(spec.name), "v23_statistics_are_there"
        for index in spec.vector_indexes:
            yield names.index(index.name), "v21_recall_has_not_drifted"
        for search_index in search_indexes(spec):
            yield names.index(search_index.name), "v24_indexes_are_used"
    yield names.live_version, "v22_no_index_is_left_invalid"


def claims_made(catalog: Catalog) -> Iterator[tuple[str, str]]:
    """Yield (asset, claim) for every claim that proves a consolidation, and what it is about."""
    names = catalog.names
    of_sources = [claim.name for claim in CHECKLIST if claim.scope == "source"]
    for kind in catalog.consolidated:
        yield from ((names.source(kind.name), name) for name in of_sources)
        for spec in kind.tables:
            yield from ((names.table(spec.name), name) for name in claims_about(spec))
            for index in spec.vector_indexes:
                yield from ((names.index(index.name), name) for name in CLAIMS_ABOUT_SEARCH)
    for indexed in catalog.indexed:
        yield from ((names.index(index), claim) for index, claim in claims_about_indexes(indexed))
    yield from (
        (names.table(name), "v25_application_tables_are_whole") for name in catalog.application
    )
    yield from (
        (names.archive(group), "v13_archived_files_are_whole") for group in groups_of(catalog)
    )
    yield names.live_version, "v14_live_version_is_complete"
    yield names.search_functions, "v15_search_functions_are_ours"


def claims_about_indexes(spec: Table) -> Iterator[tuple[str, str]]:
    """Yield (index, claim) for every claim about the search indexes of a table."""
    for search_index in search_indexes(spec):
        yield search_index.name, "v06_index_is_valid"
    for index in spec.vector_indexes:
        yield index.name, "v07_nearest_uses_index"
    for column in spec.searched:
        yield gin_name(spec.name, column), "v11_containment_uses_index"
    if spec.text_index:
        yield spec.text_index, "v19_text_search_uses_index"


def record(conn: sa.Connection, catalog: Catalog, evaluations: Iterable[Evaluation]) -> None:
    """Write evaluations down, each in the place of the former one of its claim and asset."""
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
        statement = insert(tables.evaluations)
        conn.execute(
            statement.on_conflict_do_update(
                index_elements=list(tables.evaluations.primary_key),
                set_={
                    column.name: statement.excluded[column.name]
                    for column in tables.evaluations.columns
                    if not column.primary_key
                },
            ),
            rows,
        )


def _storable(value: Kept) -> Kept:
    """Return a value of strings and numbers without the characters that PostgreSQL refuses."""
    kept: Kept = json.loads(_UNSTORABLE.sub(r"\\ufffd", json.dumps(value)))
    return kept


def latest(conn: sa.Connection, catalog: Catalog) -> list[Evaluation]:
    """Return the latest evaluation of each claim about each asset that was evaluated."""
    rows = conn.execute(
        sa.select(tables.evaluations).where(
            tables.evaluations.c.target == tables.schema_in(conn, catalog.schema)
        )
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


def evidence_of(conn: sa.Connection, catalog: Catalog, claim: str) -> dict[str, Mapping[str, Any]]:
    """Return asset -> evidence of the latest evaluation of a claim."""
    entry = tables.evaluations.c
    rows = conn.execute(
        sa.select(entry.asset, entry.evidence).where(
            entry.target == tables.schema_in(conn, catalog.schema), entry.claim == claim
        )
    )
    return {row.asset: row.evidence for row in rows}


def checklist_outcomes(
    conn: sa.Connection, catalog: Catalog, assets: Collection[str] | None = None
) -> list[ClaimOutcome]:
    """Return the latest outcome of every claim that proves; loads and pins since make it stale.

    Args:
        conn: to the target database.
        assets: those that are meant; all where it is None.
    """
    made = [place for place in claims_made(catalog) if assets is None or place[0] in assets]
    return outcomes(made, latest(conn, catalog), last_changes(conn, catalog))


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
