"""Contradictions among the findings of a board: found by the rules, recorded with both sides.

The rules are in `contradictions`. Here findings become statements, and records become requests.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from memos_assets.blackboard import records
from memos_assets.blackboard.facade import Board
from memos_assets.blackboard.reading import State
from memos_assets.blackboard.requests import FINDINGS, Request, digest
from memos_assets.blackboard.steps import Added
from memos_assets.contradictions import THRESHOLD, Record, Statement, find
from memos_assets.equal_texts import normalised

#: Most findings that are compared: the newest ones of a board.
MOST_COMPARED: Final = 300
#: Ends a source that names a sentence of it.
_SENTENCE: Final = re.compile(r"#\d+$")


async def detect(board: Board, *, threshold: float = THRESHOLD) -> list[Added]:
    """Find contradictions among the findings of a board, and record those that are open.

    Each pair is recorded once, however often this is called, and what was decided stays.

    Args:
        board: that takes the records.
        threshold: least score of a record, 0 to 1.

    Returns:
        The records, the most certain first.

    Raises:
        AgentError: as `posting.post`; M904 a threshold that is not between 0 and 1.
    """
    state = await board.state(FINDINGS)
    said = statements(state)
    # No connection is in use meanwhile, and other requests of the process go on.
    found = await asyncio.to_thread(find, said, threshold=threshold)
    values = state.values(FINDINGS)
    requests = [_recorded(one, values) for one in found if one.status == "open"]
    requests = list({one.key: one for one in requests}.values())[:MOST_COMPARED]
    if not requests:
        return []
    posted = await board.post(requests)
    pairs = zip(requests, posted, strict=True)
    return [Added(request.key, one.added, one.seq) for request, one in pairs]


def statements(state: State) -> list[Statement]:
    """Return the newest findings of a state as statements, by their keys."""
    newest: Sequence[Any] = state.level(FINDINGS)[-MOST_COMPARED:]
    return [
        Statement(one.value["text"], id=one.key, source=sentence_of(one.value)) for one in newest
    ]


def sentence_of(finding: Mapping[str, Any]) -> str | None:
    """Return the sentence that a finding was read out of: ``source#number``, or ``source#words``.

    Two findings of one sentence are not compared, and those of two sentences of one page are.
    None: which sentence it was is not known.
    """
    source: str = finding["source"]
    if _SENTENCE.search(source):
        return source
    if evidence := finding.get("evidence"):
        return f"{source}#{digest(normalised(evidence))}"
    return None


def _recorded(record: Record, findings: Mapping[str, Any]) -> Request:
    a, b = findings[str(record.a.id)], findings[str(record.b.id)]
    found = record.found
    return records.contradiction(
        a["text"],
        b["text"],
        a["source"],
        b["source"],
        score=record.score,
        kind=record.kind,
        evidence_a=a["text"][found.span_a.start : found.span_a.end],
        evidence_b=b["text"][found.span_b.start : found.span_b.end],
    )
