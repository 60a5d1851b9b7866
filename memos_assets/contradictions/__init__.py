"""Contradictions between statements, found by rules: texts in, records out.

A room of its own, because board, memory and synthesis share it. It is pure: no session, no model,
no clock. Not here: what is stored of a contradiction, and what is done about one.
"""

from memos_assets.contradictions.detection import detect
from memos_assets.contradictions.statement import KINDS, Contradiction, Span, Statement

__all__ = [
    "KINDS",
    "Contradiction",
    "Span",
    "Statement",
    "detect",
]
