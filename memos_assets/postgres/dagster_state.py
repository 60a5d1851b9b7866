"""What Dagster's own tables say of its daemon and its schedules, read without Dagster.

Importing Dagster takes two seconds, and opening its storage would create tables that are not there.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from memos_assets.postgres.schemas import DAGSTER

#: Seconds after which a daemon without a heartbeat counts as stopped; it beats every 30.
_SILENT_SECONDS = 120


@dataclass(frozen=True, slots=True)
class DagsterState:
    """Of Dagster's instance in this database.

    Attributes:
        heartbeat: the latest one of any daemon; None where there was none.
        daemon_runs: whether it is recent.
        schedules: names of those that were started, and sensors.
        running: runs that are in progress.
        queued: runs that wait for their turn.
    """

    heartbeat: datetime | None
    daemon_runs: bool
    schedules: Sequence[str]
    running: int
    queued: int


def dagster_state(conn: sa.Connection) -> DagsterState | None:
    """Return the state; None where Dagster has no tables in this database."""
    name = DAGSTER.name
    found = conn.execute(
        sa.text("select to_regclass(:beats) is not null and to_regclass(:states) is not null"),
        {"beats": f"{name}.daemon_heartbeats", "states": f"{name}.instigators"},
    ).scalar_one()
    if not found:
        return None
    beat: datetime | None = conn.exec_driver_sql(
        f"select max(timestamp) from {name}.daemon_heartbeats"
    ).scalar_one()
    bodies = conn.exec_driver_sql(
        f"select instigator_body from {name}.instigators where status = 'RUNNING'"
    ).scalars()
    in_progress = conn.exec_driver_sql(
        f"select status, count(*) from {name}.runs "
        "where status in ('STARTING', 'STARTED', 'CANCELING', 'QUEUED') group by status"
    )
    counted = {str(row[0]): int(row[1]) for row in in_progress}
    at = None if beat is None else beat.replace(tzinfo=UTC)
    recent = at is not None and (datetime.now(UTC) - at).total_seconds() < _SILENT_SECONDS
    queued = counted.pop("QUEUED", 0)
    return DagsterState(at, recent, sorted(map(_name, bodies)), sum(counted.values()), queued)


def _name(body: str) -> str:
    """Return the name in a state that Dagster serialised."""
    origin = json.loads(body).get("origin", {})
    return str(origin.get("job_name") or origin.get("instigator_name") or "a schedule")
