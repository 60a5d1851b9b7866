"""The computed part of docs/checklist.md: a table of all checks, then a section for each."""

from collections.abc import Iterable, Iterator

from memos_assets.check import AnyCheck, Checklist
from memos_assets.checklist import CHECKLIST
from memos_assets.installation import PROJECT_ROOT
from memos_assets.remediation_plan import LINES

PAGE = PROJECT_ROOT / "docs" / "checklist.md"
#: The computed part is between these two comments; the rest of the page is written by hand.
BEGIN = "<!-- computed by `make docs`: do not edit -->"
END = "<!-- end of the computed part -->"


def checklist_page() -> str:
    """Return docs/checklist.md as it is, with its computed part made anew."""
    return with_part(PAGE.read_text("utf-8"), checklist_part())


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


def checklist_part(checks: Iterable[AnyCheck] = CHECKLIST) -> str:
    """Return the table and the sections, as Markdown."""
    checks = tuple(checks)
    lines = ["| check | where | title |", "|---|---|---|", *map(_row, checks)]
    lines += ["", *_plan(Checklist(checks))]
    for check in checks:
        lines += ["", *_section(check)]
    return "\n".join(lines)


def _row(check: AnyCheck) -> str:
    label, _, slug = check.heading.partition(" ")
    return f"| [{label}](#{check.anchor}) `{slug}` | {check.where} | {check.title} |"


def _plan(checklist: Checklist) -> Iterator[str]:
    """Yield the section of the remediation plan, where its checks are shown."""
    numbers = {check.number for check in checklist}
    if not all(numbers.issuperset(line.numbers) for line in LINES):
        return
    yield "## The remediation plan's checklist"
    yield ""
    yield (
        "`memos-assets verify --plan` runs the checks of these lines and prints them. The words "
        "are those of the remediation plan of 2025-12-29."
    )
    yield ""
    yield "| phase | words of the remediation plan | checks | note |"
    yield "|---|---|---|---|"
    for line in LINES:
        checks = ", ".join(f"[{one.label}](#{one.anchor})" for one in line.checks(checklist))
        yield f"| {line.phase} | {line.words} | {checks} | {line.note} |"


def _section(check: AnyCheck) -> Iterator[str]:
    kind = ["warning"] * (check.severity == "warning") + ["blocking"] * check.blocking
    yield f"## {check.heading}"
    yield ""
    yield check.title
    yield ""
    yield f"- Where: {', '.join([check.where, *kind])}."
    yield f"- Group: {check.group}."
    yield f"- Reads: {check.reads}."
    yield f"- When it fails: {check.when_failed}"
    yield f"- Fix, as the message says: {check.fix}."
