"""Citations that a generator wrote, checked against the findings. Pure."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from memos_assets.research.answer import Sentence
from memos_assets.research.relevance import codes, sentences

#: "[1]", "[2, 3]", "[1][4]" and what generators write beside it: "[Finding 2]".
_MARK: Final = re.compile(
    r"\s*\[\s*(?:findings?\s*)?#?(\d+(?:\s*[,;]\s*#?\d+)*)\s*\]", re.IGNORECASE
)
_MARKUP: Final = re.compile(r"^\s*(?:[-*\u2022]+|\d+[.)])\s+|\*\*|^#+\s*")
#: A citation after the full stop is of the sentence before it.
_AFTER_STOP: Final = re.compile(r"([.!?])((?:\s*\[[^\]\n]{1,40}\])+)")


class Checked(NamedTuple):
    """What was kept of a text, and notes of what was not."""

    sentences: list[Sentence]
    notes: list[str]


def checked(text: str, findings: Sequence[str], question: str) -> Checked:
    """Return the sentences of a generator that a finding bears out.

    Citations of findings that there are not are removed. A sentence is dropped that cites none, or
    has a code or number that neither the question nor what it cites has.

    Args:
        text: of the generator.
        findings: texts, the first one is [1].
        question: of the user.
    """
    known = codes(question)
    kept: list[Sentence] = []
    invented = uncited = unfounded = 0
    for part in sentences(_AFTER_STOP.sub(r"\2\1", text)):
        named = [int(n) for mark in _MARK.finditer(part) for n in re.findall(r"\d+", mark[1])]
        cites = list(dict.fromkeys(n for n in named if 1 <= n <= len(findings)))
        invented += len(named) - sum(1 <= n <= len(findings) for n in named)
        said = _MARKUP.sub("", _MARK.sub("", part)).strip()
        if not any(character.isalnum() for character in said):
            continue
        if not cites:
            uncited += 1
        elif codes(said) - known - codes(" ".join(findings[n - 1] for n in cites)):
            unfounded += 1
        else:
            kept.append(Sentence(said, cites))
    counted = (
        (invented, "citations of the generator were invented, and removed"),
        (uncited, "sentences of the generator cited no finding, and were dropped"),
        (unfounded, "sentences of the generator had numbers that their source has not: dropped"),
    )
    notes = [f"{count} {what}." for count, what in counted if count]
    return Checked(kept, notes)
