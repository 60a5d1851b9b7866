"""Settings of snapshots in time: when they are written, how many are kept, how young they are."""

from datetime import date
from typing import Annotated

from pydantic import Field, StringConstraints

from memos_assets.settings.group import SettingsGroup

_CRON = r"^\S+( \S+){4}$"


class RetentionSettings(SettingsGroup):
    """When snapshots of memory are written, and which of them are kept."""

    snapshots_cron: Annotated[str, StringConstraints(strip_whitespace=True, pattern=_CRON)] = Field(
        default="0 0 * * *",
        description="Cron expression, in UTC, at which a partition of the asset "
        "`memos/snapshots/memory` ends and is written.",
    )
    snapshots_first_day: date = Field(
        default=date(2026, 11, 1),
        description="First day that has a partition of snapshots.",
    )
    snapshots_keep_daily: int = Field(
        default=7,
        ge=0,
        description="Of how many days that have a snapshot the newest one is kept. Whatever this "
        "says, the newest, the last verified and labelled ones are kept.",
    )
    snapshots_keep_weekly: int = Field(
        default=4, ge=0, description="Of how many ISO weeks that have one the newest is kept."
    )
    snapshots_keep_monthly: int = Field(
        default=12, ge=0, description="Of how many months that have one the newest is kept."
    )
    snapshots_grace_hours: float = Field(
        default=24,
        ge=0,
        description="Age in hours at which a file that no snapshot refers to may be deleted.",
    )
    snapshots_fresh_hours: float = Field(
        default=36,
        gt=0,
        description="Age in hours that the newest verified snapshot may have.",
    )
