"""Write the generated pages of docs/: `make docs`. A test fails where one is out of date."""

from collections.abc import Callable, Mapping

from memos_assets.files import write_whole
from memos_assets.installation import PROJECT_ROOT
from tools.cli_page import cli_page
from tools.settings_page import settings_page

FOLDER = PROJECT_ROOT / "docs"

#: File in docs/ -> the function that returns its text.
PAGES: Mapping[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "settings.md": settings_page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        write_whole(FOLDER / name, page())
