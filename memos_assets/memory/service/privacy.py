"""Privacy levels as data: what a level refuses, and what it replaces before text is readable.

Content is encrypted; its summary, tags, entities and embedding are not. So a level refuses content,
and replaces what it may not show in everything that is made of it. The patterns are as wide as
memOS's: any five digits are a postal code.

Source: the memOS server, core/privacy_service.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from memos_assets.errors import AgentError
from memos_assets.memory.service.values import PrivacyLevel

_STREET = "street|st|avenue|ave|road|rd|drive|dr|lane|ln|boulevard|blvd"
#: Kind of protected health information -> its pattern, in the order in which they are replaced.
#: Repetitions are bounded: a text of 1 MiB must not take a square of that many steps.
PHI: Final[Mapping[str, re.Pattern[str]]] = {
    "credit_card": re.compile(r"\b(?:\d{4}[- ]?){3}\d{4}\b"),
    "ssn": re.compile(r"\b\d{3}-?\d{2}-?\d{4}\b"),
    "phone": re.compile(r"\b\d{3}[-. ]?\d{3}[-. ]?\d{4}\b"),
    "email": re.compile(r"\b[\w.%+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}\b"),
    "date_of_birth": re.compile(r"\b\d{1,2}[/-]\d{1,2}[/-]\d{2,4}\b"),
    "medical_id": re.compile(r"\b(?:mrn|id|patient)\s{0,9}:?\s{0,9}\d+\b", re.IGNORECASE),
    "address": re.compile(rf"\b\d{{1,9}}\s{{1,9}}[a-z\s]{{1,80}}?\b(?:{_STREET})\b", re.IGNORECASE),
    "zip_code": re.compile(r"\b\d{5}(?:-\d{4})?\b"),
}
_REPLACEMENTS: Final[Mapping[str, str]] = {
    "credit_card": "****-****-****-****",
    "ssn": "***-**-****",
    "phone": "***-***-****",
    "email": "[EMAIL REMOVED]",
    "date_of_birth": "[DATE REMOVED]",
    "medical_id": "[ID REMOVED]",
    "address": "[ADDRESS REMOVED]",
    "zip_code": "[ZIP REMOVED]",
}
#: Of these every level but `comprehensive` refuses all.
HIGH_RISK: Final = frozenset({"ssn", "credit_card", "medical_id"})
#: Words that `restricted` refuses, within other words, too.
SENSITIVE_WORDS: Final = (
    *("suicide", "kill myself", "end it all", "overdose", "relapse", "using again"),
    *("dealer", "buy drugs", "family name", "full name", "real name", "home address"),
    *("work address", "employer", "social security", "bank account", "prescription"),
    *("medication", "doctor name", "hospital", "medical record", "insurance", "diagnosis"),
)
#: Names that `restricted` replaces; titles and institutions before pairs of names.
_NAMES: Final = (
    (re.compile(r"\bDr\. [A-Z][a-z]+\b"), "[DOCTOR]"),
    (re.compile(r"\b[A-Z][a-z]+ Hospital\b"), "[HOSPITAL]"),
    (re.compile(r"\b[A-Z][a-z]+ Clinic\b"), "[CLINIC]"),
    (re.compile(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)+\b"), "[NAME]"),
)


@dataclass(frozen=True, slots=True)
class PrivacyRule:
    """What a level does.

    Attributes:
        refused: kinds of `PHI` that content must not have.
        replaced: kinds of `PHI` that are replaced in readable text.
        refuses_words: content must not have any of `SENSITIVE_WORDS`.
        replaces_names: names are replaced in readable text.
    """

    refused: frozenset[str]
    replaced: frozenset[str]
    refuses_words: bool = False
    replaces_names: bool = False


_ALL = frozenset(PHI)
RULES: Final[Mapping[PrivacyLevel, PrivacyRule]] = {
    PrivacyLevel.MINIMAL: PrivacyRule(_ALL, _ALL),
    PrivacyLevel.BALANCED: PrivacyRule(HIGH_RISK, HIGH_RISK),
    PrivacyLevel.COMPREHENSIVE: PrivacyRule(frozenset(), frozenset()),
    PrivacyLevel.RESTRICTED: PrivacyRule(_ALL, _ALL, refuses_words=True, replaces_names=True),
}


def kinds_in(text: str) -> set[str]:
    """Return the kinds of `PHI` that a text has."""
    return {kind for kind, pattern in PHI.items() if pattern.search(text)}


def violations(text: str, level: PrivacyLevel) -> list[str]:
    """Return what a level refuses in a text: kinds, and ``sensitive word``; sorted."""
    rule = RULES[level]
    found = kinds_in(text) & rule.refused
    lowered = text.lower()
    if rule.refuses_words and any(word in lowered for word in SENSITIVE_WORDS):
        found.add("sensitive word")
    return sorted(found)


def need_permitted(text: str, level: PrivacyLevel) -> None:
    """Refuse content that its privacy level does not permit.

    Raises:
        AgentError: M745. It names kinds, never the text.
    """
    found = violations(text, level)
    if found:
        raise AgentError(
            "M745",
            f"privacy level {level} does not permit this content ({', '.join(found)})",
            where="content",
            fix="take that out of the text, or store it at another level with the user's consent",
        )


def anonymised(text: str, level: PrivacyLevel) -> str:
    """Return a text with what its level replaces replaced."""
    rule = RULES[level]
    for kind, pattern in PHI.items():
        if kind in rule.replaced:
            text = pattern.sub(_REPLACEMENTS[kind], text)
    if rule.replaces_names:
        for pattern, replacement in _NAMES:
            text = pattern.sub(replacement, text)
    return text


def anonymised_values(value: Any, level: PrivacyLevel) -> Any:
    """Return JSON whose texts are anonymised; keys stay."""
    if isinstance(value, str):
        return anonymised(value, level)
    if isinstance(value, Mapping):
        return {key: anonymised_values(one, level) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [anonymised_values(one, level) for one in value]
    return value
