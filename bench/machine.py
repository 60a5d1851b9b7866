"""One line about where the numbers come from."""

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import psutil
import sqlalchemy as sa

from memos_assets.postgres.engine import check_server


def machine_line(engine: sa.Engine, how: str) -> str:
    """Return date, processor, cores, memory, versions and how it was measured, on one line."""
    facts = check_server(engine)
    gigabytes = psutil.virtual_memory().total / 1e9
    return (
        f"{datetime.now(UTC):%Y-%m-%d}: {_processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{gigabytes:.0f} GB; PostgreSQL {facts.server}, pgvector {facts.pgvector}, "
        f"Python {platform.python_version()}; {how}."
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
