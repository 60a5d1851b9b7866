"""Progress of the build of an index, read from a second connection."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace

import psycopg
import sqlalchemy as sa

from memos_assets.postgres.connection import autocommit_connection
from memos_assets.progress import Progress, report

#: Faster builds report no progress.
INTERVAL_SECONDS = 0.5

#: pgvector counts rows; GIN only says how far it has read the table.
_LOOK = sa.text(
    "select phase, tuples_done, current_locker_pid as locker, "
    "blocks_done / nullif(blocks_total, 0)::float8 as read "
    "from pg_stat_progress_create_index where pid = :process"
)


@dataclass(frozen=True, slots=True)
class BuildStep:
    """How far a build is.

    Attributes:
        index: its name.
        phase: in PostgreSQL's words, or ``forecast`` before it begins.
        rows: done.
        total_rows: that the index will serve.
        seconds: since it began.
        expected_seconds: of the whole build.
        waits_for: process that the build waits for.
        notice: shown once.
        warning: a setting that should be changed.
    """

    index: str
    phase: str
    rows: int
    total_rows: int
    seconds: float
    expected_seconds: float
    waits_for: int | None = None
    notice: str | None = None
    warning: str | None = None

    def line(self) -> str:
        """Return the step as text."""
        said = [
            f"{self.index}: {self.phase}, {self.rows:,} of {self.total_rows:,} rows",
            f"{self.seconds:.0f} s of about {self.expected_seconds:.0f} s",
        ]
        if self.waits_for:
            said.append(f"waits for process {self.waits_for}")
        said += filter(None, (self.notice, self.warning))
        return "; ".join(said)


Tell = Callable[[BuildStep], None]


@dataclass(slots=True)
class Watch:
    """Progress of one build.

    Attributes:
        step: the latest.
        tell: is called with every step.
        started: when the statement was sent, by the monotonic clock.
        reported: rows; the sum of all reports is what the index serves.
        seconds: that the statement took.
        spilled: pgvector's notice that the graph outgrew its memory.
    """

    step: BuildStep
    tell: Tell | None
    started: float = field(default_factory=time.monotonic)
    reported: int = 0
    seconds: float = 0.0
    spilled: str | None = None

    def begin(self) -> None:
        """Report how many rows there are."""
        report(Progress("index", self.step.index, total_rows=self.step.total_rows))
        self._say()

    def saw(self, phase: str, rows: int, waits_for: int | None = None) -> None:
        """Take one row of the progress view; the number of done rows never falls."""
        rows = min(max(rows, self.reported), self.step.total_rows)
        self.step = replace(
            self.step,
            phase=phase.removeprefix("building index: "),
            rows=rows,
            seconds=time.monotonic() - self.started,
            waits_for=waits_for,
            notice=None,
            warning=None,
        )
        if rows > self.reported:
            report(Progress("index", self.step.index, rows=rows - self.reported))
            self.reported = rows
        self._say()

    def note(self, text: str) -> None:
        """Report a notice once."""
        self.step = replace(self.step, notice=text, warning=None)
        self._say()

    def hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """Take a notice of the server."""
        if "no longer fits" in (notice.message_primary or ""):
            self.spilled = notice.message_primary
            self.note(str(self.spilled))

    def end(self, size: int) -> None:
        """Report the rest of the rows."""
        rest = self.step.total_rows - self.reported
        report(Progress("index", self.step.index, rows=rest, bytes=size, done=True))

    def _say(self) -> None:
        if self.tell is not None:
            self.tell(self.step)


@contextmanager
def watched(engine: sa.Engine, driver: psycopg.Connection, watch: Watch) -> Iterator[None]:
    """Time the block, in which ``driver`` builds, and read its progress until it ends.

    Errors of the second connection are ignored.
    """
    process = driver.info.backend_pid
    done = threading.Event()

    def look() -> None:
        # A snapshot that stays open would be waited for by the concurrent build it looks at.
        with suppress(Exception):
            while not done.wait(INTERVAL_SECONDS):
                with autocommit_connection(engine) as conn:
                    row = conn.execute(_LOOK, {"process": process}).first()
                if row is not None and not done.is_set():
                    read = int((row.read or 0) * watch.step.total_rows)
                    watch.saw(row.phase, row.tuples_done or read, row.locker or None)

    thread = threading.Thread(
        target=copy_context().run, args=(look,), name=f"watch {watch.step.index}", daemon=True
    )
    driver.add_notice_handler(watch.hear)
    watch.started = time.monotonic()
    thread.start()
    try:
        yield
    finally:
        watch.seconds = time.monotonic() - watch.started
        done.set()
        driver.remove_notice_handler(watch.hear)
        # A look that hangs, because connections have run out, is left to itself.
        thread.join(timeout=INTERVAL_SECONDS)
