"""Check the sources below paths against the rules."""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from memos_assets.session_rules.rules import RULES, Suppressed, Violation
from memos_assets.session_rules.sources import NotRead, Source, read_sources
from memos_assets.session_rules.suppressions import apply_suppressions
from memos_assets.session_rules.symbols import Module, Project
from memos_assets.session_rules.walk import Walk

#: Modules that may define an engine and a session maker; a session that they open is reported.
_HOMES: Final = re.compile(r"(?:database|db|session|sessions|engine|engines)")
#: Kinds of S001 that such a module may make.
_DEFINING: Final = ("makes an engine", "makes a session maker", "makes a connection")
#: A module without any of these breaks no rule, and need not be gone through.
_CONCERNED: Final = re.compile(r"session|engine|sqlalchemy|sqlmodel|commit|rollback|get_.*db", re.I)
#: Passes after which what functions return is taken as known; each goes one call further.
_PASSES: Final = 8


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of a check.

    Attributes:
        files: how many modules were checked.
        violations: that stay, in the order of their places.
        suppressed: that a comment allows, with its reason.
        not_read: files and folders that could not be checked.
    """

    files: int
    violations: tuple[Violation, ...]
    suppressed: tuple[Suppressed, ...]
    not_read: tuple[NotRead, ...]

    @property
    def clean(self) -> bool:
        """Return whether every file was checked and keeps the rules."""
        return not self.violations and not self.not_read

    def by_rule(self) -> dict[str, int]:
        """Return rule -> how many places break it, for every rule."""
        codes = [violation.rule for violation in self.violations]
        return {code: codes.count(code) for code in RULES}

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "clean": self.clean,
            "files": self.files,
            "violations": [_as_json(violation) for violation in self.violations],
            "suppressed": [
                {**_as_json(one.violation), "reason": one.reason} for one in self.suppressed
            ],
            "not_read": [asdict(one) for one in self.not_read],
        }


def _as_json(violation: Violation) -> dict[str, Any]:
    rule = RULES[violation.rule]
    return {**asdict(violation), "title": rule.title, "why": rule.why, "fix": rule.fix}


def check_paths(paths: Iterable[Path | str], makes_sessions: Sequence[str] = ()) -> Checked:
    """Check every Python file at and below paths. Nothing of them is imported or run.

    Args:
        paths: files and folders.
        makes_sessions: patterns of files in which S001 is allowed, such as ``core/database.py``
            or ``scripts/*``; compared with the end of their paths.

    Raises:
        UsageError: M780 when a path does not exist.
    """
    found = list(read_sources(map(Path, paths)))
    sources = [one for one in found if isinstance(one, Source)]
    project = Project(sources)
    modules = [one for one in project.modules if _CONCERNED.search(one.source.text)]
    for _ in range(_PASSES):
        project.next_pass()
        for module in modules:
            Walk(project, module, _ignore).run()
        if not project.changed:
            break
    violations: list[Violation] = []
    suppressed: list[Suppressed] = []
    for module in project.modules:
        broken = _violations(project, module, makes_sessions) if module in modules else []
        stay, allowed = apply_suppressions(module.source, broken)
        violations += stay
        suppressed += allowed
    return Checked(
        len(sources),
        tuple(sorted(violations)),
        tuple(sorted(suppressed, key=lambda one: one.violation)),
        tuple(one for one in found if isinstance(one, NotRead)),
    )


def _ignore(node: ast.expr | ast.arg, rule: str, what: str) -> None:
    """Report nothing: a pass that only learns."""


def _violations(project: Project, module: Module, makes_sessions: Sequence[str]) -> list[Violation]:
    reported: list[tuple[ast.expr | ast.arg, str, str]] = []
    Walk(project, module, lambda *found: reported.append(found)).run()
    # A sessionmaker that is called at once makes one session, and is one place.
    inner = {
        id(below)
        for node, rule, _ in reported
        if rule == "S001"
        for below in ast.walk(node)
        if below is not node
    }
    declared = _matches(module.source.parts, makes_sessions)
    home = bool(_HOMES.fullmatch(module.source.parts[-1]))
    found: dict[tuple[int, int, str, str], Violation] = {}
    for node, rule, what in reported:
        if rule == "S001":
            defines = home and any(f" {made}:" in what for made in _DEFINING)
            if declared or defines or id(node) in inner:
                continue
        source = module.source
        one = Violation(source.path, node.lineno, source.column(node), rule, what)
        found.setdefault((one.line, one.column, one.rule, one.what), one)
    return list(found.values())


def _matches(parts: Sequence[str], patterns: Sequence[str]) -> bool:
    """Return whether a pattern is the end of a path."""
    for pattern in patterns:
        wanted = [part for part in pattern.removesuffix(".py").split("/") if part not in ("", ".")]
        end = parts[len(parts) - len(wanted) :]
        if len(end) == len(wanted) and all(map(fnmatchcase, end, wanted)):
            return True
    return False
