"""Compose a report, with its verdict, from the database, the files and the records of Dagster."""

import platform
import re
import socket
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

import psutil
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, shown
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.postgres.versions.versions import version_number
from memos_assets.report.checks import check_summaries
from memos_assets.report.decisions import decisions, repairs
from memos_assets.report.formatting import moment
from memos_assets.report.indexes import Build, index_uses
from memos_assets.report.outcomes import CheckResult
from memos_assets.report.rows import reason_counts, table_rows
from memos_assets.report.sources import source_files
from memos_assets.report.tree import (
    FORMAT,
    TITLE,
    OtherFile,
    Phase,
    Report,
    Step,
    Target,
    Timings,
)
from memos_assets.report.verdict import things_to_do, verdict

#: Packages whose versions a reader may have to know.
_PACKAGES = ("memos-assets", "dagster", "sqlalchemy", "psycopg", "pgvector", "pyarrow", "numpy")
#: Ids of `consolidate` and `verify` begin with the moment they began.
_TIMED_ID = re.compile(r"^(\d{8}-\d{6})-[0-9a-f]{4}$")

_BEFORE = "find and pin files"
_BETWEEN = "everything else"


@dataclass(frozen=True, slots=True)
class Recorded:
    """The records that Dagster has of one consolidation.

    Attributes:
        consolidation: its id.
        runs: its runs, in order.
        first_run_at: when the first of them was started, seconds since 1970.
        checklist: the latest result of every check, from any run.
        steps: the steps of its runs so far.
        failures: the message of each failed step.
        builds: index -> its latest build, by any run.
        other_files: files under the roots that are not consolidated.
    """

    consolidation: str
    runs: Sequence[str]
    first_run_at: float
    checklist: Sequence[CheckResult]
    steps: Sequence[Step] = ()
    failures: Sequence[str] = ()
    builds: Mapping[str, Build] = field(default_factory=dict)
    other_files: Sequence[OtherFile] = ()


def compose(engine: sa.Engine, catalog: Catalog, recorded: Recorded) -> Report:
    """Return the report of a consolidation as of now."""
    facts = check_server(engine)
    checklist = check_summaries(recorded.checklist)
    with engine.connect() as conn:
        rows = table_rows(conn, catalog, recorded.checklist)
        reasons = reason_counts(conn, catalog, rows)
        sources = source_files(conn, catalog)
        indexes = index_uses(conn, catalog, recorded.checklist, recorded.builds)
        decided = repairs(conn, catalog)
        target = Target(
            address=shown(engine.url),
            schema=schema_in(conn, catalog.schema),
            revision=migrations.current(engine) or "none",
            version=version_number(conn, catalog),
        )
    timings = _timings(recorded)
    return Report(
        format=FORMAT,
        title=TITLE,
        consolidation=recorded.consolidation,
        started_at=timings.started_at,
        written_at=moment(time.time()),
        written_by=f"{psutil.Process().username()}@{socket.gethostname()}",
        runs=tuple(recorded.runs),
        target=target,
        verdict=verdict(checklist, rows, recorded.failures),
        to_do=tuple(things_to_do(recorded.failures, checklist, reasons, sources, indexes)),
        sources=sources,
        other_files=tuple(recorded.other_files),
        decisions=decisions(catalog),
        repairs=decided,
        tables=rows,
        reasons=reasons,
        checklist=checklist,
        indexes=indexes,
        timings=timings,
        versions={
            "postgresql": facts.server,
            "pgvector": facts.pgvector,
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
            **{_label(package): version(package) for package in _PACKAGES},
        },
    )


def _label(package: str) -> str:
    """Name a package apart from the server's extension of the same name."""
    return f"{package} (python)" if package == "pgvector" else package


def _timings(recorded: Recorded) -> Timings:
    timed = _TIMED_ID.match(recorded.consolidation)
    started = recorded.first_run_at
    if timed:
        started = datetime.strptime(timed[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()
    total = max(time.time() - started, 0.0)
    return Timings(
        started_at=moment(started),
        total_seconds=round(total, 3),
        phases=tuple(_phases(recorded, max(recorded.first_run_at - started, 0.0), total)),
        steps=tuple(recorded.steps),
    )


def _phases(recorded: Recorded, before: float, total: float) -> Iterator[Phase]:
    """Yield the phases in the order in which they began, then the rest of the time."""
    spent = {_BEFORE: before} if before else {}
    for step in recorded.steps:
        spent[step.phase] = spent.get(step.phase, 0.0) + step.seconds
    # Steps of runs that went on side by side add up to more than the time that passed.
    spent[_BETWEEN] = max(total - sum(spent.values()), 0.0)
    for phase, seconds in spent.items():
        yield Phase(phase, round(seconds, 3))
