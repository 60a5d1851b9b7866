"""Memories as they are prepared: checked, divided into parts, embedded. No session is in use.

`draft` checks what callers give, `Draft.texts` says what has to be embedded, and `finish` joins
both: the embedder in between may be asynchronous or not.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

import numpy as np
import numpy.typing as npt

from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.memory.moments import Moment, moment, unusable_date
from memos_assets.memory.normalised_text import (
    content_digest,
    normalised_name,
    storable,
    storable_name,
)
from memos_assets.memory.splitting import pieces, split, tail
from memos_assets.postgres.schema.agent import KINDS
from memos_assets.search.embed import AsyncEmbedder, Embedder
from memos_assets.search.embed.embedder import checked

Vector = npt.NDArray[np.float32]
#: Clocks of two machines may differ by so much before a record counts as one of the future.
_CLOCKS_DIFFER = timedelta(minutes=1)


class About(TypedDict, total=False):
    """Arguments of `prepare` beside the text.

    Attributes:
        kind: one of `KINDS`.
        subject: what it is about. Compared, and stored, without regard to case.
        attribute: of the subject, without which it does not go: the text is its value then, and a
            later value ends the former one.
        attributes: more about it, as JSON.
        source: where it is from, as ``mail:4711``; None: the user.
        valid_from: since when it is true in the world; None: since ever, or, where another value
            is known, since it is recorded.
        valid_until: from when on it is not true any more; None: it is.
        recorded_at: when it was known, for imports; None: now.
        confidence: 0 to 1.
        trust: 0 to 1, of its source.
        derived_from: ids of memories that it was concluded from.
        previous: the text before it in its source, which gives it a context.
    """

    kind: str
    subject: str | None
    attribute: str | None
    attributes: Mapping[str, Any] | None
    source: str | None
    valid_from: Moment | None
    valid_until: Moment | None
    recorded_at: Moment | None
    confidence: float | None
    trust: float
    derived_from: Sequence[Any]
    previous: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a text: characters ``start`` to ``stop``, float32 of shape (dimension,)."""

    start: int
    stop: int
    embedding: Vector


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A memory before it is remembered. A plain value: it may be kept, and sent elsewhere.

    Attributes:
        model: that embedded it; "" where there is no embedder.
        parts: of the text with their embeddings; none where it waits.
        with_previous: embedding of the text with the one before it; None: there is none.
        waits: why it has no embedding, as a code and a cause; None: it has one.
    """

    content: str
    content_digest: str
    kind: str = "finding"
    subject: str | None = None
    attribute: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    recorded_at: datetime | None = None
    confidence: float | None = None
    trust: float = 1.0
    derived_from: tuple[str, ...] = ()
    model: str = ""
    parts: tuple[Part, ...] = ()
    with_previous: Vector | None = None
    waits: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is asked: the text, its embedding of shape (dimension,) or None, and the model."""

    text: str
    embedding: Vector | None
    model: str


@dataclass(frozen=True, slots=True)
class Draft:
    """A memory that was checked, and what of it is embedded."""

    fields: Mapping[str, Any]
    offsets: tuple[tuple[int, int], ...]
    with_previous: str | None

    def texts(self) -> Iterator[str]:
        """Yield what is embedded: the parts, then the text with the one before it."""
        content = self.fields["content"]
        for start, stop in self.offsets:
            yield content[start:stop]
        if self.with_previous is not None:
            yield self.with_previous


def draft(text: str, model: str, about: About) -> Draft:
    """Check a memory, and divide its text.

    Args:
        text: what has to be remembered.
        model: by its name; it decides how long a part may be.
        about: see `About`.

    Raises:
        AgentError: M730 a text that cannot be stored; M731 a date without a zone, dates in the
            wrong order, a record of the future; M732 another value that is not one.
    """
    content = storable(text, "text")
    unknown = set(about) - set(About.__annotations__)
    if unknown:
        raise TypeError(f"prepare() got unexpected arguments: {', '.join(sorted(unknown))}")
    kind = about.get("kind", "finding")
    if kind not in KINDS:
        raise _wrong("kind", "is not one that there is", f"use one of {', '.join(KINDS)}")
    subject, attribute = _subject(about)
    source = about.get("source")
    valid_from, valid_until, recorded_at = _dates(about)
    previous = about.get("previous")
    return Draft(
        {
            "content": content,
            "content_digest": content_digest(content, subject, attribute),
            "kind": kind,
            "subject": subject,
            "attribute": attribute,
            "attributes": _attributes(about.get("attributes")),
            "source": None if source is None else storable_name(source, "source"),
            "valid_from": valid_from,
            "valid_until": valid_until,
            "recorded_at": recorded_at,
            "confidence": _share(about.get("confidence"), "confidence"),
            "trust": _share(about.get("trust", 1.0), "trust"),
            "derived_from": _ids(about.get("derived_from") or ()),
        },
        tuple(split(content, model)),
        None if previous is None else together(storable(previous, "previous text"), content, model),
    )


def finish(drafted: Draft, model: str, vectors: Sequence[Vector] | str) -> Prepared:
    """Return a memory with its embeddings.

    Args:
        drafted: from `draft`.
        model: that embedded it.
        vectors: of `Draft.texts`, in their order; or why there are none.
    """
    if isinstance(vectors, str):
        return Prepared(**drafted.fields, model=model, waits=vectors)
    count = len(drafted.offsets)
    return Prepared(
        **drafted.fields,
        model=model,
        parts=tuple(
            Part(start, stop, vector)
            for (start, stop), vector in zip(drafted.offsets, vectors[:count], strict=True)
        ),
        with_previous=None if drafted.with_previous is None else vectors[count],
    )


def finish_all(
    drafted: Sequence[Draft], model: str, embedded: Sequence[Vector] | str
) -> list[Prepared]:
    """Return memories with the embeddings of all their texts in a row; see `finish`."""
    if isinstance(embedded, str):
        return [finish(one, model, embedded) for one in drafted]
    prepared, place = [], 0
    for one in drafted:
        count = len(one.offsets) + (one.with_previous is not None)
        prepared.append(finish(one, model, embedded[place : place + count]))
        place += count
    return prepared


async def embedded(embedder: AsyncEmbedder | None, texts: Sequence[str]) -> Sequence[Vector] | str:
    """Return embeddings of texts, or why there are none: their memories wait."""
    if embedder is None:
        return NO_EMBEDDER
    try:
        return _rows(await embedder.embed(texts), len(texts))
    except MemosAssetsError as error:
        return cause(error)


def embedded_now(embedder: Embedder | None, texts: Sequence[str]) -> Sequence[Vector] | str:
    """As `embedded`, for code that waits."""
    if embedder is None:
        return NO_EMBEDDER
    try:
        return _rows(embedder.embed(texts), len(texts))
    except MemosAssetsError as error:
        return cause(error)


#: Why memories wait where the settings name no embedder.
NO_EMBEDDER = "M577: no embedder is set"


def question(text: str) -> str:
    """Return a question as it is asked.

    Raises:
        AgentError: M730 it is empty, too long, or no text that PostgreSQL takes.
    """
    return storable(text, "question")


def answered(text: str, model: str, embedding: object) -> Asked:
    """Return a question with its embedding; without, where the embedder answered with nonsense."""
    try:
        (vector,) = checked([embedding], 1, where="embedder")
    except MemosAssetsError:
        return Asked(text, None, model)
    return Asked(text, vector, model)


def cause(error: MemosAssetsError) -> str:
    """Return why a text has no embedding: the code and the cause, never the text."""
    return f"{error.code}: {error.what}"


def _rows(vectors: object, count: int) -> Sequence[Vector]:
    # An embedder that a caller wrote may answer anything.
    return list(checked(vectors, count, where="embedder"))


def together(previous: str, content: str, model: str) -> str:
    """Return a text after the end of the one before it, as far as a model reads both."""
    start, stop = split(content, model)[0]
    own = content[start:stop]
    before = tail(previous, model, pieces(own))
    return f"{before}\n{own}" if before else own


def _subject(about: About) -> tuple[str | None, str | None]:
    subject, attribute = about.get("subject"), about.get("attribute")
    if (subject is None) and (attribute is not None):
        raise _wrong("attribute", "is given without a subject", "name the subject, or neither")
    return (
        None if subject is None else normalised_name(subject, "subject"),
        None if attribute is None else normalised_name(attribute, "attribute"),
    )


def _dates(about: About) -> tuple[datetime | None, datetime | None, datetime | None]:
    valid_from = moment(about.get("valid_from"), "valid_from")
    valid_until = moment(about.get("valid_until"), "valid_until")
    recorded_at = moment(about.get("recorded_at"), "recorded_at")
    check_order(valid_from, valid_until)
    if recorded_at is not None and recorded_at > datetime.now(UTC) + _CLOCKS_DIFFER:
        raise unusable_date(
            "recorded_at", "is in the future", "leave it out; only imports have it, from the past"
        )
    return valid_from, valid_until, recorded_at


def check_order(valid_from: datetime | None, valid_until: datetime | None) -> None:
    """Refuse a time that ends before it starts.

    Raises:
        AgentError: M731.
    """
    if valid_from is not None and valid_until is not None and valid_from >= valid_until:
        raise unusable_date(
            "valid_until", "is not after valid_from", "swap them, or leave one of them out"
        )


def _attributes(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if value is None:
        return {}
    fix = "pass text, finite numbers, lists and objects of them"
    if not isinstance(value, Mapping):
        raise _wrong("attributes", f"are {type(value).__name__}", "pass a mapping")
    try:
        written = json.dumps(dict(value), ensure_ascii=False, allow_nan=False)
        written.encode()
    except (TypeError, ValueError, RecursionError):
        raise _wrong("attributes", "have a value that JSON does not contain", fix) from None
    if "\\u0000" in written:
        raise _wrong("attributes", "have a NUL, which PostgreSQL does not store", fix)
    stored: Mapping[str, Any] = json.loads(written)
    return stored


def _ids(given: Any) -> tuple[str, ...]:
    """Return ids as text, each once."""
    listed = [given] if isinstance(given, str | UUID) else list(given)
    try:
        return tuple(dict.fromkeys(str(UUID(str(one))) for one in listed))
    except ValueError:
        raise _wrong("derived_from", "has something that is not an id", "pass Kept.id") from None


def _share(value: Any, name: str) -> float | None:
    if value is None and name == "confidence":
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise _wrong(name, f"is {type(value).__name__}", "pass a number from 0 to 1")
    if not 0 <= value <= 1:
        raise _wrong(name, "is not within 0 and 1", "pass a number from 0 to 1")
    return float(value)


def _wrong(name: str, what: str, fix: str) -> AgentError:
    return AgentError("M732", f"{name} {what}", where="memory", fix=fix)
