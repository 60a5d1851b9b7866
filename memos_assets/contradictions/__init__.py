"""Contradictions between statements, found by rules: texts in, records out.

A room of its own, because board, memory and synthesis share it. It is pure: no session, no model,
no clock. Not here: what is stored of a contradiction, and what is done about one.
"""

from memos_assets.contradictions.candidates import Candidate, candidates, forget
from memos_assets.contradictions.detection import detect
from memos_assets.contradictions.records import THRESHOLD, Judge, Record, find, find_async
from memos_assets.contradictions.statement import KINDS, Contradiction, Span, Statement

__all__ = [
    "KINDS",
    "THRESHOLD",
    "Candidate",
    "Contradiction",
    "Judge",
    "Record",
    "Span",
    "Statement",
    "candidates",
    "detect",
    "find",
    "find_async",
    "forget",
]
