"""Passages: what search and recall found, as candidates for findings. Pure, and JSON."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from memos_assets.equal_texts import normalised
from memos_assets.memory.recall import Hit as MemoryHit
from memos_assets.research.relevance import (
    Asked,
    alike,
    asked,
    codes,
    diverse,
    sentences,
    stems,
)
from memos_assets.search.calls import Hit as RowHit

MEMORY: Final = "memory:"
#: Sources of what a run concluded begin with it.
OF_RUN: Final = "board:"
#: Passages that become findings, and characters of one.
MOST_FINDINGS: Final = 12
MOST_CHARACTERS: Final = 900
#: Least relevance of a finding.
_LEAST: Final = 0.25
#: From so many common words on, with equal codes and numbers, two passages say the same.
_SAME: Final = 0.8
#: Words of a text that may be a part of another one; shorter ones are statements of their own.
_WHOLE_TEXT: Final = 6
#: Words of a value beside a name; what is longer is a text about it.
_LONGEST_VALUE: Final = 4
_LONGEST_SOURCE: Final = 300
#: Ends a source that names a sentence of it.
_SENTENCE: Final = re.compile(r"#\d+$")
#: Cosines of unrelated texts, and of texts that answer: what is between is scaled.
_UNRELATED, _ANSWERS = 0.3, 0.8


@dataclass(frozen=True)
class Passage:
    """A text that may answer a question.

    Attributes:
        source: table and key of a row, or ``memory:UUID``.
        title: of the source.
        text: what it says, `MOST_CHARACTERS` at most.
        confidence: 0 to 1: how much of the question it speaks of, times the trust in it.
        subject: name of the thing that it gives a value of; None: it is a text.
        value: that value.
        also: other sources that say the same.
        origin: the sentence that it begins with, as ``source#number``; of a memory, that which its
            own source names. "": none is known.
    """

    source: str
    title: str
    text: str
    confidence: float
    subject: str | None = None
    value: str | None = None
    also: list[str] = field(default_factory=list)
    origin: str = ""

    @property
    def memory(self) -> str | None:
        """Id of the memory that it is; None: it is a row of a corpus."""
        return self.source.removeprefix(MEMORY) if self.source.startswith(MEMORY) else None

    def memories(self) -> list[str]:
        """Return ids of memories that say it."""
        every = (self.source, *self.also)
        return [one.removeprefix(MEMORY) for one in every if one.startswith(MEMORY)]

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def chosen(question: str, rows: Sequence[RowHit], memories: Sequence[MemoryHit]) -> list[Passage]:
    """Return the passages that become findings, the most relevant and diverse ones first.

    Of passages that say the same, one is taken, and names the others.
    """
    about = asked(question)
    found = [_of_row(about, hit) for hit in rows if hit.text]
    found += [_of_memory(about, hit) for hit in memories if not _own(hit)]
    merged = _merged([one for one in found if one is not None and one.confidence >= _LEAST])
    words = [stems(one.text) for one in merged]
    order = diverse([one.confidence for one in merged], words, MOST_FINDINGS)
    return sorted((merged[n] for n in order), key=lambda one: -one.confidence)


def _own(hit: MemoryHit) -> bool:
    """Whether a memory is an answer of a run, which no further one takes for a source."""
    return hit.source.startswith(OF_RUN)


def _of_row(about: Asked, hit: RowHit) -> Passage | None:
    lines = [
        line for line in (" ".join(one.split()) for one in (hit.text or "").splitlines()) if line
    ]
    if not lines:
        return None
    subject = value = None
    text = "\n".join(lines)
    if len(lines) == 2 and len(lines[1].split()) <= _LONGEST_VALUE >= len(lines[0].split()):
        subject, value = lines
        text = f"{subject}: {value}"
    near = None if hit.distance is None else 1 - hit.distance
    source = "/".join((hit.table, *hit.key.values()))[:_LONGEST_SOURCE]
    kept, number = _cut(about, text)
    return Passage(
        source=source,
        title=lines[0][:120],
        text=kept,
        confidence=_confidence(about, text, near),
        subject=subject,
        value=value,
        origin=f"{source}#{number}",
    )


def _of_memory(about: Asked, hit: MemoryHit) -> Passage | None:
    text = hit.content.strip()
    trusted = hit.trust * (1.0 if hit.confidence is None else hit.confidence)
    # A value is remembered as the text of an attribute of a subject.
    named = f"{hit.subject} {hit.attribute}: {text}" if hit.attribute else text
    about_it = " ".join(filter(None, (hit.subject, hit.attribute, text)))
    return Passage(
        source=f"{MEMORY}{hit.id}",
        title=f"memory of {hit.recorded_at:%Y-%m-%d}",
        text=_cut(about, named)[0],
        confidence=round(_confidence(about, about_it, hit.scores.get("meaning")) * trusted, 4),
        origin=hit.source if _SENTENCE.search(hit.source) else "",
    )


def _confidence(about: Asked, text: str, cosine: float | None) -> float:
    covered = about.covered_by(stems(text))
    if cosine is not None:
        near = (cosine - _UNRELATED) / (_ANSWERS - _UNRELATED)
        covered = max(covered, min(1.0, max(0.0, near)))
    return round(0.95 * covered, 4)


def _cut(about: Asked, text: str) -> tuple[str, int]:
    """Return the run of sentences of a text that speaks most of the question, and its first one."""
    if len(text) <= MOST_CHARACTERS:
        return text, 1
    parts = sentences(text)
    best, start, size = -1.0, 0, 0
    for first in range(len(parts)):
        length = count = 0
        for part in parts[first:]:
            if length + len(part) + 1 > MOST_CHARACTERS:
                break
            length, count = length + len(part) + 1, count + 1
        scored = about.covered_by(frozenset().union(*map(stems, parts[first : first + count])))
        if scored > best:
            best, start, size = scored, first, count
    kept = "\n".join(parts[start : start + size])
    return (kept, start + 1) if kept else (text[:MOST_CHARACTERS], 1)


def _merged(found: Sequence[Passage]) -> list[Passage]:
    """Return one of those that say the same, rows before the memories that were made of them."""
    kept: list[Passage] = []
    ordered = sorted(found, key=lambda one: (one.memory is not None, -one.confidence))
    for one in ordered:
        same = next((other for other in kept if _same(one, other)), None)
        if same is None:
            kept.append(one)
        elif one.source not in (same.source, *same.also):
            same.also.append(one.source)
    return kept


def _same(one: Passage, other: Passage) -> bool:
    if normalised(one.text) == normalised(other.text):
        return True
    if one.subject or other.subject or one.memory or other.memory:
        return False
    mine, theirs = stems(one.text), stems(other.text)
    # A text of which only a number differs says something else.
    if codes(one.text) == codes(other.text) and alike(mine, theirs) >= _SAME:
        return True
    # Rows before this one are more relevant: it is a part of one of them, and adds nothing.
    return len(mine) >= _WHOLE_TEXT and mine <= theirs


def passage_of(value: Mapping[str, Any]) -> Passage:
    """Return a passage as `Passage.as_json` gave it."""
    return Passage(**value)
