"""Comments that allow a violation: ``# session-rule: S001 because REASON``.

One at the end of a line, or alone above it, covers the statement there; at a ``def`` or ``class``
it covers the whole body. ``# session-rule: file S001 because REASON`` covers the file.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from memos_assets.session_rules.rules import RULES, Suppressed, Violation
from memos_assets.session_rules.sources import Comment, Source

_MARK: Final = re.compile(r"#\s*session-rule\b", re.I)
_FORM: Final = re.compile(
    r"#\s*session-rule:\s*(?P<file>file\s+)?(?P<rules>S\d{3}(?:\s*,\s*S\d{3})*)"
    r"(?:\s+because\b\s*(?P<reason>.*?))?\s*",
    re.I,
)
_WITH_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(slots=True)
class _Suppression:
    comment: Comment
    rules: tuple[str, ...]
    reason: str
    lines: range
    used: set[str] = field(default_factory=set)


def apply_suppressions(
    source: Source, violations: Iterable[Violation]
) -> tuple[list[Violation], list[Suppressed]]:
    """Return the violations that stay, with those of the comments themselves, and the others."""
    wrong: list[Violation] = []
    suppressions = list(_suppressions(source, wrong))
    stay, allowed = list(wrong), []
    for violation in violations:
        by = next((one for one in suppressions if _covers(one, violation)), None)
        if by is None:
            stay.append(violation)
        else:
            by.used.add(violation.rule)
            allowed.append(Suppressed(violation, by.reason))
    for one in suppressions:
        for rule in one.rules:
            if rule not in one.used:
                said = f"a comment suppresses {rule}, which is not broken there"
                stay.append(_violation(source, one.comment, said))
    return stay, allowed


def _covers(suppression: _Suppression, violation: Violation) -> bool:
    return violation.rule in suppression.rules and violation.line in suppression.lines


def _suppressions(source: Source, wrong: list[Violation]) -> Iterator[_Suppression]:
    """Yield the comments that suppress; those that do not as they should are added to ``wrong``."""
    for comment in source.comments:
        if not _MARK.match(comment.text):
            continue
        match = _FORM.fullmatch(comment.text)
        if match is None:
            wrong.append(_violation(source, comment, "a comment for a rule cannot be read"))
            continue
        rules = tuple(dict.fromkeys(re.findall(r"S\d{3}", match["rules"].upper())))
        if unknown := [rule for rule in rules if rule not in RULES or rule == "S000"]:
            said = f"a comment suppresses {unknown[0]}, which is not a rule that can be"
            wrong.append(_violation(source, comment, said))
        elif not match["reason"]:
            said = f"a comment suppresses {', '.join(rules)} without a reason"
            wrong.append(_violation(source, comment, said))
        else:
            lines = range(len(source.lines) + 2) if match["file"] else _lines(source, comment)
            yield _Suppression(comment, rules, match["reason"], lines)


def _violation(source: Source, comment: Comment, what: str) -> Violation:
    return Violation(source.path, comment.line, comment.column, "S000", what)


def _lines(source: Source, comment: Comment) -> range:
    """Return the lines that a comment covers."""
    line = _below(source.lines, comment.line) if comment.alone else comment.line
    best = range(line, line + 1)
    size = None
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.stmt):
            continue
        header = _header(node)
        if line in header and (size is None or len(header) < size):
            size = len(header)
            scoped = isinstance(node, _WITH_SCOPE)
            best = range(header.start, (node.end_lineno or line) + 1) if scoped else header
    return best


def _below(lines: Sequence[bytes], line: int) -> int:
    """Return the first line below one that is neither empty nor a comment."""
    below = line + 1
    while below <= len(lines) and (
        not lines[below - 1].strip() or lines[below - 1].lstrip().startswith(b"#")
    ):
        below += 1
    return below


def _header(node: ast.stmt) -> range:
    """Return the lines of a statement, without those of the statements in it."""
    decorators = getattr(node, "decorator_list", [])
    start = min([node.lineno, *(one.lineno for one in decorators)])
    body = getattr(node, "body", None) or getattr(node, "cases", None)
    if not body:
        return range(start, (node.end_lineno or start) + 1)
    first = body[0].pattern if isinstance(body[0], ast.match_case) else body[0]
    inner = min([first.lineno, *(one.lineno for one in getattr(first, "decorator_list", []))])
    return range(start, max(inner, start + 1))
