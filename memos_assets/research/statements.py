"""Passages as statements that are compared, and what of them contradicts. Pure."""

from memos_assets.contradictions import Record, Statement
from memos_assets.research.passages import Passage


def statement_of(key: str, one: Passage) -> Statement:
    """Return a passage as a statement, by the key of its finding.

    A value that stands beside a name says what the thing of this name is called. The source is the
    sentence: statements that were read out of one sentence do not contradict each other, and two
    places of one page may.
    """
    source = one.origin or one.source
    if one.subject is not None and one.value is not None:
        return Statement(one.value, id=key, subject=one.subject, attribute="title", source=source)
    return Statement(one.text, id=key, source=source)


def evidence_of(record: Record) -> dict[str, str]:
    """Return the words of both sides that contradict, as `Board.add_contradiction` takes them."""
    found = record.found
    return {
        "evidence_a": record.a.text[found.span_a.start : found.span_a.end],
        "evidence_b": record.b.text[found.span_b.start : found.span_b.end],
    }
