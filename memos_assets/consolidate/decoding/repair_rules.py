"""The rules that may be decided for rejects: where each fits, and how it changes a value.

A rule changes what is loaded, never the row that is kept in `memos_ops.rejects`. The proof has its
own reading of every rule, in `canonical_rules`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from memos_assets.catalog import Column, Link, TableSpec
from memos_assets.consolidate.decoding.json_texts import JSON_REASONS, with_one_value_per_key
from memos_assets.consolidate.decoding.reject_reasons import REJECT_REASONS
from memos_assets.consolidate.decoding.rejected import TEXT_REASONS, RejectedValue
from memos_assets.consolidate.decoding.timestamps import (
    ISO_OFFSET_REASONS,
    cut,
    rounded,
    utc_text,
)
from memos_assets.consolidate.decoding.values import DECODERS, REAL_REASONS
from memos_assets.postgres.schema.tables import DROP
from memos_assets.sqlite.row_codec import Value

#: Reason -> rule, as decided for one table of one source.
Rules = Mapping[str, str]
#: Table -> its rules.
Decisions = Mapping[str, Rules]

#: Rule -> what it does.
RULES: Final[dict[str, str]] = {
    DROP: "the row stays out of the table",
    "null_value": "the value becomes NULL",
    "replace_characters": "what PostgreSQL cannot hold becomes U+FFFD, one for each character or "
    "byte; of JSON only the escape changes",
    "null_numbers": "NaN and Infinity become null inside the JSON",
    "keep_first": "of a key that a JSON object repeats, the first value counts",
    "keep_last": "of a key that a JSON object repeats, the last value counts, as in jsonb",
    "keep_all": "a key that a JSON object repeats gets a list of all its values, in their order",
    "cut_fraction": "digits after the microsecond are left out",
    "round_fraction": "a time stamp is rounded to the microsecond, half to even",
    "round_number": "an integer becomes the nearest float64",
    "assume_utc": "a time stamp without an offset is read as UTC",
    "null_end": "the link to a row that is missing or rejected becomes NULL",
}
_REASONS: Final[dict[str, frozenset[str]]] = {
    DROP: frozenset(REJECT_REASONS),
    "null_value": frozenset({"wrong_type"}) | JSON_REASONS | ISO_OFFSET_REASONS | REAL_REASONS,
    "replace_characters": TEXT_REASONS | {"json_nul", "json_surrogate"},
    "null_numbers": frozenset({"json_not_finite"}),
    "keep_first": frozenset({"json_duplicate_key"}),
    "keep_last": frozenset({"json_duplicate_key"}),
    "keep_all": frozenset({"json_duplicate_key"}),
    "cut_fraction": frozenset({"timestamp_too_fine"}),
    "round_fraction": frozenset({"timestamp_too_fine"}),
    "round_number": frozenset({"integer_inexact"}),
    "assume_utc": frozenset({"timestamp_without_zone"}),
    "null_end": frozenset({"dangling_end"}),
}


def changeable_columns(spec: TableSpec, reason: str) -> tuple[Column, ...]:
    """Return the columns in which a rule may change a value that was rejected for a reason."""
    names = spec.identifying_columns
    # A reason that no decoder gives, such as a wrong type, is in columns of any kind.
    kinds = {kind for kind, decoder in DECODERS.items() if reason in decoder.reasons}
    return tuple(
        column
        for column in spec.columns
        if column.name not in names and not column.computed and (not kinds or column.kind in kinds)
    )


def may_be_emptied(spec: TableSpec, link: Link) -> bool:
    """Whether the end of a link may become NULL."""
    return link.declared and link.column not in spec.key and spec.column(link.column).nullable


def fitting_rules(spec: TableSpec, reason: str) -> tuple[str, ...]:
    """Return the rules that may be decided for a reason in a table."""
    return tuple(rule for rule in RULES if _fits(spec, reason, rule))


def _fits(spec: TableSpec, reason: str, rule: str) -> bool:
    if reason not in _REASONS[rule]:
        return False
    if rule == DROP:
        return True
    if rule == "null_end":
        return any(may_be_emptied(spec, link) for link in spec.links)
    columns = changeable_columns(spec, reason)
    return any(column.nullable for column in columns) if rule == "null_value" else bool(columns)


def can_change(spec: TableSpec, column: Column, reason: str, rule: str) -> bool:
    """Whether a rule applies to a value of a column; else the row stays open."""
    if reason not in _REASONS.get(rule, frozenset()) or column.name in spec.identifying_columns:
        return False
    return rule != "null_value" or column.nullable


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason why a row cannot be loaded as it is; ``rule`` settles it, None while open."""

    reason: str
    detail: str
    rule: str | None = None


@dataclass(slots=True)
class Verdict:
    """Everything found wrong with one row, and whether it is settled."""

    faults: list[Fault] = field(default_factory=list)

    def add(self, fault: Fault) -> None:
        """Take a fault, once: a computed column repeats those of its origin."""
        if fault not in self.faults:
            self.faults.append(fault)

    @property
    def is_loaded(self) -> bool:
        """Whether the row is loaded, in a changed form."""
        return all(fault.rule is not None and fault.rule != DROP for fault in self.faults)

    @property
    def named(self) -> Fault:
        """The fault that the rejects name: the first that is open, else the first."""
        return next((fault for fault in self.faults if fault.rule is None), self.faults[0])

    @property
    def resolution(self) -> str | None:
        """``drop``, or the rules that settled the row, joined by ``+``; None while it is open."""
        if any(fault.rule is None for fault in self.faults):
            return None
        rules = list(dict.fromkeys(fault.rule for fault in self.faults if fault.rule))
        return DROP if DROP in rules else "+".join(rules)


def rules_of(resolution: str | None) -> tuple[str, ...]:
    """Return the rules that a row was loaded with; none while it is open or when it is dropped."""
    return () if resolution is None or resolution == DROP else tuple(resolution.split("+"))


def decode_with_rules(
    spec: TableSpec,
    column: Column,
    value: Value,
    decode: Callable[[Value], Any],
    rules: Rules,
) -> tuple[Any, list[Fault]]:
    """Decode a value; where that fails, change it as decided and try again.

    Returns:
        What the value becomes, None if it stays rejected or becomes NULL, and its faults.
    """
    faults: list[Fault] = []
    settled: set[str] = set()
    change: Callable[[Any], Any] | None = None
    while True:
        try:
            if change is not None:
                value = change(value)
            return decode(value), faults
        except RejectedValue as verdict:
            rule = rules.get(verdict.reason)
            if verdict.reason in settled or (
                rule != DROP
                and (rule is None or not can_change(spec, column, verdict.reason, rule))
            ):
                rule = None
            detail = f"{column.origin}: {verdict.detail}"
            faults.append(Fault(verdict.reason, detail, rule))
            if rule is None or rule in (DROP, "null_value"):
                return None, faults
            if rule not in _REPEATABLE:
                settled.add(verdict.reason)
            change = None
            if rule == "assume_utc":
                decode = utc_text
            else:
                change = _CHANGES[verdict.reason, rule]


_NOT_UTF8 = re.compile("[\ud800-\udfff]")
#: A pair of surrogates, or half of one, or any other escape.
_SURROGATE = re.compile(
    r"(?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_NUL_ESCAPE = re.compile(r"(?P<half>\\u0000)|\\.", re.DOTALL)
#: A string, or a number that JSON does not know.
_NOT_FINITE = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<number>-?Infinity|NaN)', re.DOTALL)


def _escaped(match: re.Match[str]) -> str:
    return r"\ufffd" if match["half"] else match[0]


def _null(match: re.Match[str]) -> str:
    return "null" if match["number"] else match[0]


#: Keys that differed may be equal after another rule; each time there are fewer.
_REPEATABLE: Final = frozenset({"keep_first", "keep_last", "keep_all"})

#: Reason, rule -> how a value changes, everything else in a text staying as it is spelt.
_CHANGES: Final[dict[tuple[str, str], Callable[[Any], Value]]] = {
    ("nul_character", "replace_characters"): lambda text: text.replace("\0", "\ufffd"),
    ("invalid_utf8", "replace_characters"): lambda text: _NOT_UTF8.sub("\ufffd", text),
    ("json_nul", "replace_characters"): lambda text: _NUL_ESCAPE.sub(_escaped, text),
    ("json_surrogate", "replace_characters"): lambda text: _SURROGATE.sub(_escaped, text),
    ("json_not_finite", "null_numbers"): lambda text: _NOT_FINITE.sub(_null, text),
    ("json_duplicate_key", "keep_first"): lambda text: with_one_value_per_key(text, "first"),
    ("json_duplicate_key", "keep_last"): lambda text: with_one_value_per_key(text, "last"),
    ("json_duplicate_key", "keep_all"): lambda text: with_one_value_per_key(text, "all"),
    ("timestamp_too_fine", "cut_fraction"): cut,
    ("timestamp_too_fine", "round_fraction"): rounded,
    ("integer_inexact", "round_number"): float,
}
