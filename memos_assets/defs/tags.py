"""Tags of runs: what a run is told, beside its partitions."""

import dagster as dg

from memos_assets.consolidate.sources.discover import Root
from memos_assets.settings import Settings

#: Run tag that binds the runs of one consolidation together.
CONSOLIDATION_TAG = "memos/consolidation"
#: Run tag that holds the roots a run was asked to search, one per line.
ROOTS_TAG = "memos/data"
#: Run tag: load chunks again although the ledger says that they are up to date.
RELOAD_TAG = "memos/reload"
#: Run tag: the run loads, checks and reads the shadow instead of the live tables.
INTO_TAG = "memos/into"
#: Run tag: the files to move, `NAME=PATH`, one per line. A run without it moves nothing.
RETIRE_TAG = "memos/retire"
#: Run tag: retire sources although rows of theirs are in the rejects.
ACCEPT_TAG = "memos/accept_open_rejects"
#: Run tag: the process that holds the run's lock.
PROCESS_TAG = "memos/process"


def consolidation_of(run: dg.DagsterRun) -> str:
    """Return the id of the consolidation that a run belongs to; a run by itself is one."""
    return run.tags.get(CONSOLIDATION_TAG, run.root_run_id or run.run_id)


def roots_of(run: dg.DagsterRun, settings: Settings) -> list[Root]:
    """Return the roots a run searches: its tag's, else MEMOS_DATA's, else none."""
    tagged = run.tags.get(ROOTS_TAG)
    arguments = tagged.split("\n") if tagged else settings.data
    return [Root.parse(argument) for argument in arguments]
