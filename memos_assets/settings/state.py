"""Settings of files: all state of this project that is not in the database."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from memos_assets.installation import CHECKOUT, state_folder
from memos_assets.settings.group import ABSOLUTE, EMPTY_IS_UNSET, SettingsGroup


def _dagster_home(values: dict[str, Path]) -> Path:
    """The checkout; without one `dagster` in MEMOS_HOME."""
    return CHECKOUT or values["home"] / "dagster"


class StateSettings(SettingsGroup):
    """Folders of this project and of Dagster."""

    home: Annotated[Path, ABSOLUTE] = Field(
        default_factory=state_folder,
        description="Folder of all state: data of the embedded server, pinned copies, reports, "
        "backups.",
    )
    archive: Annotated[Path | None, EMPTY_IS_UNSET, ABSOLUTE] = Field(
        default=None,
        description="Folder that retired files are moved to, on their file system; unset: "
        "`archive` in MEMOS_HOME.",
    )
    snapshots_url: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Folder or URL of snapshots of memory, such as `s3://bucket/folder`; unset: "
        "`snapshots` in MEMOS_HOME.",
    )
    dagster_home: Path = Field(
        default_factory=_dagster_home,
        validation_alias="DAGSTER_HOME",
        description="Folder of dagster.yaml, which says where runs, events and schedules are.",
    )

    @property
    def archive_folder(self) -> Path:
        """The folder that retired files are moved to."""
        return self.archive or self.home / "archive"

    @property
    def snapshots_location(self) -> str:
        """The folder or URL of snapshots; it may contain a secret."""
        if self.snapshots_url is not None:
            return self.snapshots_url.get_secret_value()
        return str(self.home / "snapshots")

    @property
    def pins_folder(self) -> Path:
        """The folder of pinned copies of sources."""
        return self.home / "pins"
