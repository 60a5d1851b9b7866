"""What is compared, and what is found."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Final, NamedTuple

from memos_assets.errors import AgentError

#: Kinds of contradictions, as records name them.
KINDS: Final = (
    *("negation", "never", "number", "date", "exclusive attribute", "order", "antonym"),
    *("exclusive kind", "update"),
)

#: A moment, or a day, whose beginning is meant.
Moment = datetime | date


@dataclass(frozen=True, slots=True)
class Statement:
    """A text that somebody stands for, and what is known of it.

    Attributes:
        text: one or more sentences, in English or German.
        id: of the finding, memory or sentence; for the caller.
        subject: whom or what it is about. "I" in two statements of one subject is one person;
            statements of two subjects do not contradict each other.
        attribute: of the subject, such as "city".
        source: the sentence, page or turn it was taken from. Two statements of one source
            are not compared by `find`.
        valid_from: since when it is true, in the world; without a zone: UTC. None: not known.
        valid_until: when it ceased to be true, exclusive. None: it is true still.
        language: "en" or "de"; None: detected sentence by sentence.
    """

    text: str
    id: str | None = None
    subject: str | None = None
    attribute: str | None = None
    source: str | None = None
    valid_from: Moment | None = None
    valid_until: Moment | None = None
    language: str | None = None

    def __init__(
        self,
        text: str,
        *,
        id: str | None = None,  # noqa: A002  the word that callers have for it
        subject: str | None = None,
        attribute: str | None = None,
        source: str | None = None,
        valid_from: Moment | None = None,
        valid_until: Moment | None = None,
        language: str | None = None,
    ) -> None:
        """Keep the text, and say what is known of it.

        Raises:
            AgentError: M900, a text that is not a string, or a time that is not a date; M901, an
                end before the start.
        """
        if not isinstance(text, str):
            raise AgentError(
                "M900",
                f"its text is a {type(text).__name__}",
                where="a statement",
                fix="hand over the text as str",
            )
        starts, ends = _instant(valid_from), _instant(valid_until)
        if starts is not None and ends is not None and ends < starts:
            raise AgentError(
                "M901",
                f"it ends at {ends.isoformat()}, before it starts at {starts.isoformat()}",
                where=f"statement {id}" if id else "a statement",
                fix="exchange valid_from and valid_until, or leave out the one that is not known",
            )
        keep = object.__setattr__
        keep(self, "text", text)
        keep(self, "id", id)
        keep(self, "subject", subject)
        keep(self, "attribute", attribute)
        keep(self, "source", source)
        keep(self, "valid_from", starts)
        keep(self, "valid_until", ends)
        keep(self, "language", language if language in ("en", "de") else None)


class Span(NamedTuple):
    """Part of a text: offsets of characters, the end exclusive."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two statements that are not both true, or a value and the one that followed it.

    Attributes:
        kind: one of `KINDS`.
        score: how certain the rule is, above 0 and at most 1.
        span_a: of the first statement's text, what cannot stand beside ``span_b``.
        span_b: of the second statement's text.
        reason: a sentence, for people; it quotes both.
        is_update: both are true, each in its time: there is nothing to decide.
    """

    kind: str
    score: float
    span_a: Span
    span_b: Span
    reason: str
    is_update: bool = False

    def turned(self) -> "Contradiction":
        """Return the same of the two statements in the other order."""
        return replace(self, span_a=self.span_b, span_b=self.span_a)


def _instant(moment: Moment | None) -> datetime | None:
    """Return a moment with a zone; a day is its beginning."""
    if moment is None:
        return None
    if isinstance(moment, datetime):
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if isinstance(moment, date):
        return datetime.combine(moment, time(), UTC)
    raise AgentError(
        "M900",
        f"a time of it is a {type(moment).__name__}",
        where="a statement",
        fix="hand over valid_from and valid_until as datetime or date",
    )
