"""The computed part of docs/checklist.md: a table of all checks, then a section for each."""

from collections.abc import Iterable, Iterator

from memos_assets.check import AnyCheck
from memos_assets.checklist import CHECKLIST


def checklist_part(checks: Iterable[AnyCheck] = CHECKLIST) -> str:
    """Return the table and the sections, as Markdown."""
    checks = tuple(checks)
    lines = ["| check | where | title |", "|---|---|---|", *map(_row, checks)]
    for check in checks:
        lines += ["", *_section(check)]
    return "\n".join(lines)


def _row(check: AnyCheck) -> str:
    label, _, slug = check.heading.partition(" ")
    return f"| [{label}](#{check.anchor}) `{slug}` | {check.where} | {check.title} |"


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
