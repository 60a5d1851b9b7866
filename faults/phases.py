"""Which phase a running consolidation is in, as PostgreSQL and the folder of pins show it."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, get_args

import psycopg

from bench.world import World
from memos_assets.postgres.server.embedded import DATABASE

Phase = Literal["start", "pin", "load", "verify", "index"]
PHASES: tuple[Phase, ...] = get_args(Phase)

_INTERVAL_SECONDS = 0.01
_QUERIES = (
    "select query from pg_stat_activity where datname = %s and state <> 'idle' "
    "and application_name like 'memos\\_assets:%%' and pid <> pg_backend_pid()"
)


class PhaseWatch:
    """Samples the phase every 10 ms; between two statements a phase goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="phases", daemon=True)
        #: Phases in the order in which they were seen; some come back.
        self.seen: list[Phase] = ["start"]

    @property
    def phase(self) -> Phase:
        """The phase of the last sample."""
        return self.seen[-1]

    def __enter__(self) -> "PhaseWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        # A server that is killed takes this connection along; then there is nothing to see.
        with suppress(psycopg.OperationalError), self._world.administrator() as conn:
            while not self._stop.wait(_INTERVAL_SECONDS):
                queries = [str(row[0]) for row in conn.execute(_QUERIES, (DATABASE,))]
                phase = self._phase_of(queries)
                if phase is not None and phase != self.phase:
                    self.seen.append(phase)

    def _phase_of(self, queries: Sequence[str]) -> Phase | None:
        for query in queries:
            # Migrations and Dagster write their statements in capitals.
            if query.startswith("create index"):
                return "index"
            if query.startswith("copy (select"):
                return "verify"
            if query.startswith("copy ") and "from stdin" in query:
                return "load"
        if any((self._world.home / "pins").glob(".*.part")):
            return "pin"
        return None
