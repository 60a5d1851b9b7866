"""Tags of runs: what a run is told, beside its partitions."""

import dagster as dg

from memos_assets.consolidate.sources.discover import Root
from memos_assets.errors import UsageError
from memos_assets.settings import Settings

#: Run tag that binds the runs of one consolidation together.
CONSOLIDATION_TAG = "memos/consolidation"
#: Run tag that holds the roots a run was asked to search, one per line.
ROOTS_TAG = "memos/data"
#: Run tag: load chunks again although the ledger says that they are up to date.
RELOAD_TAG = "memos/reload"
#: Run tag: the run loads, checks and reads the shadow instead of the live tables.
INTO_TAG = "memos/into"
#: Run tag: the process that holds the run's lock.
PROCESS_TAG = "memos/process"
#: Run tag of what takes long and loads nothing. One such run at a time is dequeued, so that one of
#: the two places of `concurrency.runs` in dagster.yaml is always left to loads.
UPKEEP = {"memos/upkeep": "true"}


def consolidation_of(run: dg.DagsterRun) -> str:
    """Return the id of the consolidation that a run belongs to; a run by itself is one."""
    return run.tags.get(CONSOLIDATION_TAG, run.root_run_id or run.run_id)


def roots_of(run: dg.DagsterRun, settings: Settings) -> list[Root]:
    """Return the roots that a run searches: its tag's, else MEMOS_DATA's, else none.

    Raises:
        UsageError: M589 the tag names a place outside MEMOS_DATA; anybody who reaches the UI can
            set a tag, and what is found there would be registered as a source.
    """
    allowed = [Root.parse(argument) for argument in settings.data]
    tagged = run.tags.get(ROOTS_TAG)
    if not tagged:
        return allowed
    roots = [Root.parse(argument) for argument in tagged.split("\n")]
    for root in roots:
        if not any(root.path.is_relative_to(known.path) for known in allowed):
            raise UsageError(
                "M589",
                f"the tag {ROOTS_TAG} names {root.path}, which is not below MEMOS_DATA",
                where="run",
                fix="set MEMOS_DATA to the folder, or memos-assets observe --data DIR",
            )
    return roots
