"""The evidence of former evaluations, for checks that compare with it."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from memos_assets.postgres.schema import tables


def evidence_of(conn: sa.Connection, check: str) -> dict[str, Mapping[str, Any]]:
    """Return asset -> evidence of the latest evaluation of a check."""
    entry = tables.evaluations.c
    rows = conn.execute(
        sa.select(entry.asset, entry.evidence).where(
            entry.target == tables.data_schema(conn), entry.claim == check
        )
    )
    return {row.asset: row.evidence for row in rows}
