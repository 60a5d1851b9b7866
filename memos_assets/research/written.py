"""A synthesis with its numbers: which finding is [1], and which contradictions it names."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from memos_assets.research.answer import Opposed, Sentence
from memos_assets.research.synthesis import Finding, composed, opposed

#: Share of confidence that an answer with open contradictions keeps.
_CONTRADICTED: Final = 0.5


@dataclass(frozen=True)
class Written:
    """A synthesis.

    Attributes:
        said: sentences, citing by the numbers of ``cited``.
        of_findings: the same, citing by the places of the findings.
        cited: keys of the findings, in the order of their numbers.
        opposed: open contradictions that it names.
        sides: their sides as (text, source).
        text: all of it.
        confidence: 0 to 1.
        written_by: `EXTRACTIVE` or a generator.
    """

    said: list[Sentence]
    of_findings: list[Sentence]
    cited: list[str]
    opposed: list[Opposed]
    sides: list[tuple[tuple[str, str], tuple[str, str]]]
    text: str
    confidence: float
    written_by: str

    def as_draft(self) -> dict[str, Any]:
        """Return what another run needs to write the same."""
        said = [{"text": one.text, "cites": one.cites} for one in self.of_findings]
        return {"sentences": said, "written_by": self.written_by}


def numbered(
    said: Sequence[Sentence],
    findings: Sequence[Finding],
    against: Sequence[tuple[str, Any]],
    written_by: str,
) -> Written:
    """Number the findings in the order in which the text names them."""
    by_text = {(one.text, one.source): place for place, one in enumerate(findings, 1)}
    named = [
        (key, value, [(value[side]["statement"], value[side]["source"]) for side in ("a", "b")])
        for key, value in against
    ]
    places = [place for one in said for place in one.cites]
    places += [by_text[side] for *_, sides in named for side in sides if side in by_text]
    number = {place: n for n, place in enumerate(dict.fromkeys(places), 1)}
    cited = [findings[place - 1].key for place in number]
    by_source = {findings[place - 1].source: n for place, n in reversed(number.items())}
    against_it = []
    for key, value, sides in named:
        own = {
            source: number[by_text[said_text, source]]
            for said_text, source in sides
            if (said_text, source) in by_text
        }
        against_it.append(opposed(key, value, {**by_source, **own}))
    shown = [Sentence(one.text, [number[place] for place in one.cites]) for one in said]
    best = max((findings[place - 1].confidence for place in number), default=0.0)
    return Written(
        said=shown,
        of_findings=list(said),
        cited=cited,
        opposed=against_it,
        sides=[(sides[0], sides[1]) for *_, sides in named],
        text=composed(shown, against_it),
        confidence=round(best * (_CONTRADICTED if against_it else 1.0), 4),
        written_by=written_by,
    )
