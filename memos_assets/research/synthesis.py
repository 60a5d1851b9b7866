"""The synthesis: sentences that cite their sources, and each open contradiction with both sides."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from memos_assets.memory.context import tokens
from memos_assets.research.answer import Opposed, Sentence
from memos_assets.research.budget import READ_PER_WRITTEN
from memos_assets.research.relevance import asked, diverse, sentences, stems

EXTRACTIVE: Final = "extractive"
#: Sentences of an extractive answer, and the share of the best one's score that others need.
_MOST_SENTENCES: Final = 6
_ENOUGH: Final = 0.45
#: Words of a sentence that says something.
_FEWEST_WORDS: Final = 3
_LEAD: Final = 0.1
_LABEL: Final = re.compile(r"^(?:error code|alarm code|category|severity|code number)\s*:", re.I)


@dataclass(frozen=True)
class Finding:
    """A finding of the board, as the synthesis reads it; its number is its place from 1."""

    key: str
    text: str
    source: str
    confidence: float


def extracted(question: str, findings: Sequence[Finding], max_tokens: int) -> list[Sentence]:
    """Return the sentences of the findings that answer a question best, within a budget.

    They are relevant and unlike each other (maximal marginal relevance), in the order of the
    findings. The first one is there even where it alone is longer than the budget.
    """
    about, every = asked(question), asked(question).weights.keys()
    places: list[tuple[int, int, str]] = []
    scores, words = [], []
    for number, finding in enumerate(findings, 1):
        parts = sentences(finding.text)
        kept = 0
        for place, part in enumerate(parts):
            own = stems(part)
            # A line that repeats the question, or a label, says nothing.
            if len(parts) > 1 and (own <= every or len(own) < _FEWEST_WORDS or _LABEL.match(part)):
                continue
            places.append((number, place, part))
            # What comes first in a text tells more of what it is about.
            lead = _LEAD / (1 + kept)
            scores.append(0.6 * finding.confidence + 0.3 * about.covered_by(own) + lead)
            kept += 1
            words.append(own)
    chosen: list[tuple[int, int, str]] = []
    left = float(max_tokens)
    enough = _ENOUGH * max(scores, default=0.0)
    for n in diverse(scores, words, len(scores)):
        cost = tokens(places[n][2]) + 4
        if len(chosen) == _MOST_SENTENCES or scores[n] < enough:
            break
        if cost <= left or not chosen:
            chosen.append(places[n])
            left -= cost
    return [Sentence(part, [number]) for number, _, part in sorted(chosen)]


def prompt(question: str, findings: Sequence[Finding], max_tokens: int) -> str:
    """Return what a generator reads: the findings that fit, by their numbers, and the question."""
    left = READ_PER_WRITTEN * max_tokens
    lines: list[str] = []
    for number, finding in enumerate(findings, 1):
        line = f"[{number}] " + " ".join(finding.text.split())
        left -= tokens(line)
        if left < 0 and lines:
            break
        lines.append(line)
    return "Findings:\n" + "\n".join(lines) + f"\n\nQuestion: {question}"


def evidence(statement: str, words: str) -> str:
    """Return the sentence of a statement that contradicts, given its words."""
    for part in sentences(statement):
        if words and " ".join(words.split()) in part:
            return part
    return " ".join((words or statement).split())


def opposed(key: str, value: Mapping[str, Any], numbers: Mapping[str, int]) -> Opposed:
    """Return a recorded contradiction as an answer names it.

    Args:
        key: of the record.
        value: of the record.
        numbers: of the sources.
    """
    a, b = value["a"], value["b"]
    return Opposed(
        a=evidence(a["statement"], a["evidence"]),
        source_a=numbers.get(a["source"], 0),
        b=evidence(b["statement"], b["evidence"]),
        source_b=numbers.get(b["source"], 0),
        kind=value["kind"],
        score=value["score"],
        key=key,
    )


def composed(said: Sequence[Sentence], contradictions: Sequence[Opposed]) -> str:
    """Return the text of an answer: a line for each sentence, and for each open contradiction."""
    if not said and not contradictions:
        return "Nothing was found."
    lines = [cited(one.text, one.cites) for one in said]
    if contradictions:
        lines.append("Open contradictions:")
        lines += [
            f'"{one.a}" [{one.source_a}] against "{one.b}" [{one.source_b}] ({one.kind}).'
            for one in contradictions
        ]
    return "\n".join(lines)


def cited(text: str, cites: Sequence[int]) -> str:
    """Return a sentence with its citations before its full stop."""
    marks = "".join(f"[{number}]" for number in cites)
    end = text[-1] if text[-1:] in tuple(".!?") else "."
    return f"{text.rstrip('.!?')} {marks}{end}"
