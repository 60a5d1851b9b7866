"""Confirmation of what a run is to move: only a dry run of the same state can print it.

A run may be started by anybody who reaches Dagster's GraphQL, a page of another site included. The
confirmation is a keyed digest of what would happen: the files with their content, the options, the
place. Its key is in the database and is replaced when it is used, so no confirmation works twice.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from memos_assets.consolidate.archive.eligibility import Candidate
from memos_assets.consolidate.archive.manifests import file_sha256
from memos_assets.errors import UsageError
from memos_assets.postgres.schema import tables

_row = tables.confirmations.c

#: What a run would do, as JSON.
Plan = Mapping[str, Any]


def retirement_plan(
    candidates: Sequence[Candidate], archive: Path, *, accept_open_rejects: bool
) -> Plan:
    """Describe the move of the candidates that meet every condition, down to their bytes.

    Raises:
        SourceError: M113 a file cannot be read.
    """
    return {
        "action": "retire",
        "archive": str(archive),
        "accept_open_rejects": accept_open_rejects,
        "files": [
            {
                "name": one.name,
                "path": str(one.path),
                "role": one.role,
                "sha256": file_sha256(one.path),
                "pin": one.source.pin_digest if one.source else None,
            }
            for one in sorted(candidates, key=lambda one: str(one.path))
            if one.would_be_retired
        ],
    }


def confirmation_of(engine: sa.Engine, plan: Plan) -> str:
    """Return the confirmation of a plan, 32 hexadecimal digits; nothing is written."""
    with engine.connect() as conn:
        key = conn.execute(_next()).first()
    return _confirmation(key.key, plan) if key is not None else ""


def confirm(engine: sa.Engine, plan: Plan, given: str) -> None:
    """Compare a confirmation with what would be done now, and use it up.

    Raises:
        UsageError: M587 there is none; M588 it is of another state, or was used.
    """
    what = ", ".join(file["name"] for file in plan["files"]) or "no file"
    fix = "memos-assets retire --dry-run prints the confirmation of what would be done now"
    if not given:
        raise UsageError(
            "M587",
            f"a run moves nothing without a confirmation; it would move {what}",
            where=plan["action"],
            fix=fix,
        )
    with engine.begin() as conn:
        key = conn.execute(_next().with_for_update()).first()
        if key is None or not hmac.compare_digest(
            _confirmation(key.key, plan).encode(), given.strip().encode()
        ):
            raise UsageError(
                "M588",
                "the confirmation is not of what would be done now, or was used; nothing was "
                f"moved. Now it would move {what}",
                where=plan["action"],
                fix=fix,
            )
        conn.execute(
            sa.update(tables.confirmations)
            .where(_row.number == key.number)
            .values(used_at=sa.func.now(), action=json.dumps(plan))
        )
        conn.execute(sa.insert(tables.confirmations).values(key=secrets.token_hex(32)))


def _next() -> sa.Select[Any]:
    return (
        sa.select(_row.number, _row.key)
        .where(_row.used_at.is_(None))
        .order_by(_row.number)
        .limit(1)
    )


def _confirmation(key: str, plan: Plan) -> str:
    content = json.dumps(plan, sort_keys=True).encode()
    return hmac.new(bytes.fromhex(key), content, hashlib.sha256).hexdigest()[:32]
