"""Settings of files: all state of this project that is not in the database."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from memos_assets.settings.group import ABSOLUTE, EMPTY_IS_UNSET, SettingsGroup
from memos_assets.settings.paths import PROJECT_ROOT


class StateSettings(SettingsGroup):
    """Folders of this project and of Dagster."""

    home: Annotated[Path, ABSOLUTE] = Field(
        default=PROJECT_ROOT / ".memos",
        description="Folder of all state: data of the embedded server, pinned copies, reports, "
        "backups.",
    )
    archive: Annotated[Path | None, EMPTY_IS_UNSET, ABSOLUTE] = Field(
        default=None,
        description="Folder that retired files are moved to, on their file system; unset: "
        "`archive` in MEMOS_HOME.",
    )
    dagster_home: Path = Field(
        default=PROJECT_ROOT,
        validation_alias="DAGSTER_HOME",
        description="Folder of dagster.yaml, which says where runs, events and schedules are.",
    )

    @property
    def archive_folder(self) -> Path:
        """The folder that retired files are moved to."""
        return self.archive or self.home / "archive"

    @property
    def pins_folder(self) -> Path:
        """The folder of pinned copies of sources."""
        return self.home / "pins"
