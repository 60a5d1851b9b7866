"""The documentation of codes: M-codes of errors, V-numbers of checks, reasons of rejects.

The pages are in ``docs`` of the checkout, which a wheel carries within the package.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from memos_assets.errors import UsageError
from memos_assets.installation import PROJECT_ROOT

_DOCS = PROJECT_ROOT / "docs"
_HEADING = re.compile(r"^(#{1,6})\s+(.*)")
_ERRORS, _CHECKLIST = "errors.md", "checklist.md"


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a page up to the next heading, in Markdown. In a row's case: the row."""

    page: Path
    anchor: str
    text: str

    @property
    def address(self) -> str:
        """The ``file:`` address of the section, which terminals and browsers open."""
        return f"{self.page.as_uri()}#{self.anchor}".rstrip("#")


def section(code: str) -> Section:
    """Return the section about a code, in any case of letters.

    Args:
        code: ``M307``, ``V12`` or a reason such as ``json_nul``.

    Raises:
        UsageError: M509 no page has a section about it.
    """
    found = find_section(code)
    if found is None:
        raise UsageError(
            "M509",
            f"no page of the documentation has a section about {code!r}",
            where="explain",
            fix="pass a code as it was printed: M307, V12, or a reason of rejects such as json_nul",
        )
    return found


def find_section(code: str) -> Section | None:
    """Return the section about a code, or None where the pages have none or are not installed."""
    page = _DOCS / (_ERRORS if re.fullmatch(r"[Mm]\d{3}", code) else _CHECKLIST)
    if not page.is_file():
        return None
    lines = page.read_text("utf-8").splitlines()
    text = _below_heading(lines, code) or _row(lines, code)
    return Section(page, _anchor(text), text) if text else None


def _anchor(text: str) -> str:
    """Return the anchor that Markdown renderers give to a heading; empty for a row of a table."""
    heading = _HEADING.match(text)
    return re.sub(r"[^\w -]", "", heading[2].lower()).replace(" ", "-") if heading else ""


def _below_heading(lines: list[str], code: str) -> str:
    """Return the heading that starts with the code, and its text up to the next heading."""
    kept: list[str] = []
    for line in lines:
        heading = _HEADING.match(line)
        if heading is not None and kept:
            break
        if kept or (heading is not None and _starts_with(heading[2], code)):
            kept.append(line)
    return "\n".join(kept).strip()


def _row(lines: list[str], code: str) -> str:
    """Return the row of a table that starts with the code, as one line per column."""
    header: list[str] = []
    for line in lines:
        if not line.startswith("|"):
            header = []
        elif not header:
            header = _cells(line)
        elif _starts_with(_cells(line)[0], code):
            named = zip(header, _cells(line), strict=True)
            return "\n\n".join(f"**{name}**: {cell}" for name, cell in named)
    return ""


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _starts_with(text: str, code: str) -> bool:
    words = text.replace("`", " ").split()
    return bool(words) and words[0].rstrip(":").lower() == code.lower()
