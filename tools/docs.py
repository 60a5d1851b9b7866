"""Write the generated pages of docs/ and the stored help: `make docs`. Tests find old ones."""

from collections.abc import Callable, Mapping

from memos_assets.files import write_whole
from memos_assets.installation import PROJECT_ROOT
from tools.checklist_page import checklist_page
from tools.cli_page import cli_page
from tools.help_file import help_file
from tools.settings_page import settings_page

FOLDER = PROJECT_ROOT / "docs"

#: File in docs/ -> the function that returns its text.
PAGES: Mapping[str, Callable[[], str]] = {
    "checklist.md": checklist_page,
    "cli.md": cli_page,
    "settings.md": settings_page,
    "../memos_assets/cli/help.json": help_file,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        write_whole(FOLDER / name, page())
