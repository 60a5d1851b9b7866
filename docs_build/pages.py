"""The pages with a computed part, and the function that computes it.

The part is between two comments, `BEGIN` and `END`. The rest of a page is written by hand.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs_build.checklist import checklist_part
from memos_assets.settings import PROJECT_ROOT

DOCS = PROJECT_ROOT / "docs"
BEGIN = "<!-- computed by `make docs`: do not edit -->"
END = "<!-- end of the computed part -->"

#: Page -> its computed part.
PAGES: Mapping[Path, Callable[[], str]] = {
    DOCS / "checklist.md": checklist_part,
}


def with_part(page: str, part: str) -> str:
    """Return a page with its computed part replaced.

    Raises:
        ValueError: the page does not have the two comments, once each and in order.
    """
    before, begin, rest = page.partition(BEGIN)
    former, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in former + after or END in before + after:
        raise ValueError(f"a page needs {BEGIN!r} and then {END!r}, once each")
    return f"{before}{BEGIN}\n\n{part.strip()}\n\n{END}{after}"


def outdated() -> dict[Path, str]:
    """Return page -> the text it should have, for every page that has another."""
    texts = {page: with_part(page.read_text("utf-8"), compute()) for page, compute in PAGES.items()}
    return {page: text for page, text in texts.items() if page.read_text("utf-8") != text}
