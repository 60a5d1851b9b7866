"""The rules, and the places that break them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        code: as it is printed, and as a comment names it that suppresses it.
        title: the sentence that is checked.
        why: the consequence of breaking it.
        fix: the next action.
    """

    code: str
    title: str
    why: str
    fix: str


_ALL = (
    Rule(
        "S000",
        "A suppression names a rule that is broken there, and a reason.",
        "without a reason nobody can decide later whether it may go",
        "write `# session-rule: S001 because REASON` at the place, or remove the comment",
    ),
    Rule(
        "S001",
        "A service makes neither a session nor an engine.",
        "its rows are committed apart from those of its caller, and it takes a second connection",
        "take the caller's session as the first parameter; where sessions are made on purpose, "
        "say so (--makes-sessions PATTERN, or a comment with the reason)",
    ),
    Rule(
        "S002",
        "A service neither commits, rolls back nor closes a session that it was given.",
        "what the caller has not finished is committed or lost with it",
        "flush where the rows are needed, and leave the transaction to the caller",
    ),
    Rule(
        "S003",
        "A session is not an optional parameter.",
        "a caller that forgets it gets another transaction, without an error",
        "make the session the first parameter, without a default",
    ),
    Rule(
        "S004",
        "A route that receives a session passes it on.",
        "what it calls works in a transaction of its own, or in none",
        "pass the session to what the route calls, or remove the parameter",
    ),
    Rule(
        "S005",
        "One session is used by one task at a time.",
        "a session holds one connection and is not safe for two tasks or threads",
        "give each task a session of its own, or await one call after the other",
    ),
)
RULES: Final[Mapping[str, Rule]] = {rule.code: rule for rule in _ALL}


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """A place that breaks a rule.

    Attributes:
        path: of the file, as it was reached.
        line: from 1.
        column: from 1, in characters.
        rule: code of the rule.
        what: happens there, in one clause.
    """

    path: str
    line: int
    column: int
    rule: str
    what: str

    @property
    def place(self) -> str:
        """Return path:line:column."""
        return f"{self.path}:{self.line}:{self.column}"

    def __str__(self) -> str:
        rule = RULES[self.rule]
        return f"{self.place}: {self.rule} {self.what}: {rule.why}. Fix: {rule.fix}"


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A violation that a comment allows, and the reason that it gives."""

    violation: Violation
    reason: str
