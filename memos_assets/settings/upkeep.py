"""Settings of upkeep: memory of index builds, former versions, the archive."""

from pydantic import Field

from memos_assets.settings.group import SettingsGroup


class UpkeepSettings(SettingsGroup):
    """Limits of index builds, and how long versions, files and waits may last."""

    maintenance_work_mem_mb: int = Field(
        default=512,
        ge=16,
        description="Memory of all index builds together, in MB. Each takes as much as its graph "
        "needs; a graph that needs more is built on disk beyond it, many times slower.",
    )
    keep_versions_days: float = Field(
        default=7, ge=0, description="Days for which former versions of the tables are kept."
    )
    swap_timeout_seconds: float = Field(
        default=60,
        gt=0,
        description="Longest wait in seconds for readers of the tables when a version goes live.",
    )
    archive_grace_days: int = Field(
        default=30, ge=0, description="Age in days at which a retired file may be purged."
    )
    outbox_minutes: float = Field(
        default=60,
        gt=0,
        description="Longest time in minutes for which a memory may wait for its embedding.",
    )
