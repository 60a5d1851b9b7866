"""Where this package is, a checkout or an installed wheel, and the files that go with it."""

from pathlib import Path

from platformdirs import user_data_path

_PACKAGE = Path(__file__).resolve().parent

#: The top of the checkout that this package is imported from; None where a wheel was installed,
#: which carries sql/ within the package.
CHECKOUT = None if (_PACKAGE / "sql").is_dir() else _PACKAGE.parent

#: The folder of sql/, dagster.yaml and workspace.yaml.
PROJECT_ROOT = CHECKOUT or _PACKAGE


def state_folder() -> Path:
    """`.memos` in the checkout; without one `memos-assets` in the user's data directory."""
    # The line above is the default that docs/settings.md shows.
    if CHECKOUT is not None:
        return CHECKOUT / ".memos"
    return user_data_path("memos-assets", appauthor=False)
