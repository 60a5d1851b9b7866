"""Boards of agents as assets: counted by the day on which they were opened, and archived once.

Partitions are days, never users or boards. Counts alone are shown.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.blackboard.archive import archive_all, complete_boards, folder_of
from memos_assets.blackboard.census import census
from memos_assets.defs.assets.memory import GROUP
from memos_assets.defs.failures import failed_by, reported
from memos_assets.defs.keys import OWNERS
from memos_assets.defs.resources import Postgres
from memos_assets.settings.retention import RetentionSettings

Shown = dict[str, dg.MetadataValue | int | float | str]


def board_partitions() -> dg.DailyPartitionsDefinition:
    """Return the days on which boards are opened, the current one among them."""
    first = datetime.combine(RetentionSettings().snapshots_first_day, datetime.min.time(), UTC)
    return dg.DailyPartitionsDefinition(start_date=first, timezone="UTC", end_offset=1)


def board_assets(names: AssetNames) -> Iterator[dg.AssetsDefinition]:
    """Yield the assets about boards."""
    yield _boards(names)
    yield _archive(names)


def board_key(names: AssetNames, name: str) -> dg.AssetKey:
    """Return the key of an asset about boards."""
    return dg.AssetKey.from_user_string(names.agent(name))


def _boards(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=board_key(names, "boards"),
        group_name=names.job(GROUP),
        partitions_def=board_partitions(),
        kinds={"postgres"},
        owners=OWNERS,
        description="Boards that agents opened on a day: their states, events, findings and "
        "contradictions, what was refused, and how much of their budgets is used.",
    )
    def _counted(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        window = context.partition_time_window
        with reported(), postgres.engine.connect() as conn:
            found = census(conn, window.start, window.end)
        shown: Shown = {
            "dagster/partition_row_count": sum(found.states.values()),
            "events": found.events,
            "bytes": found.bytes,
            "waiting": found.waiting,
            "largest share of a budget": found.largest_share,
        }
        shown |= {f"boards: {state}": count for state, count in found.states.items()}
        shown |= dict(found.levels)
        shown |= {f"refused: {reason}": count for reason, count in found.refused.items()}
        return dg.MaterializeResult(metadata=shown)

    return _counted


def _archive(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=board_key(names, "board_archive"),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Archive boards that are complete, each once: a file in `boards` in "
        "MEMOS_HOME, read back and compared with the live state, and marked then. After that "
        "values that were overwritten are emptied; the state stays. A board whose file is not "
        "proven stays as it is, and fails the run.",
    )
    def _archived(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported():
            with postgres.engine.connect() as conn:
                complete = complete_boards(conn)
            folder = folder_of(postgres.settings)
            done, emptied, failed = archive_all(postgres.engine, folder, complete)
            if failed:
                raise failed_by(failed)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": len(done),
                "events": sum(one.events for one in done),
                "emptied": emptied,
            }
        )

    return _archived
