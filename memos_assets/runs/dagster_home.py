"""The folder of dagster.yaml, which Dagster calls DAGSTER_HOME.

It is the checkout, or a folder in MEMOS_HOME that gets a copy of the package's dagster.yaml. Any
other folder that DAGSTER_HOME names is left as it is.
"""

from pathlib import Path

from memos_assets.errors import UsageError
from memos_assets.files import write_whole
from memos_assets.installation import PROJECT_ROOT
from memos_assets.settings import Settings

_NAME = "dagster.yaml"


def prepare_dagster_home(settings: Settings) -> Path:
    """Return the folder of dagster.yaml, and write the file if it is missing in MEMOS_HOME.

    Raises:
        UsageError: M503 the folder is not in MEMOS_HOME and has no dagster.yaml.
    """
    home = settings.dagster_home.expanduser().absolute()
    if (home / _NAME).is_file():
        return home
    if not home.is_relative_to(settings.home):
        raise UsageError(
            "M503",
            "there is no dagster.yaml",
            where=str(home),
            fix="unset DAGSTER_HOME, or point it to the folder of the project's dagster.yaml",
        )
    home.mkdir(parents=True, exist_ok=True)
    write_whole(home / _NAME, (PROJECT_ROOT / _NAME).read_text("utf-8"))
    return home
