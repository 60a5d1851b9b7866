"""The gate: whether the nearest entry of a cache answers a text, by rules that can be read.

A similarity finds a winner; it cannot tell 500 from 5,000, "covered" from "not covered", or "from A
to B" from "from B to A". `judge` looks at the two texts and refuses, with the reason. It is pure,
deterministic, and takes tens of microseconds. Words are data of room `language`; docs/caches.md
shows how one is added. Not here: the search, the threshold (`calibration`), and what is stored.
"""

from memos_assets.cache.gate.rules import RULES
from memos_assets.cache.gate.verdict import (
    Judge,
    NamespaceRules,
    Verdict,
    judge,
    judge_twice,
    rules_for,
)

__all__ = [
    "RULES",
    "Judge",
    "NamespaceRules",
    "Verdict",
    "judge",
    "judge_twice",
    "rules_for",
]
