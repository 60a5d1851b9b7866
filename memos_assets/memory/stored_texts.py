"""Embed memories that are stored: those that wait for an embedding, and all for another model.

Nothing here opens a session or a connection: texts are read before, embeddings are written after.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import MemosAssetsError
from memos_assets.memory import model_identity
from memos_assets.memory.arrays import bigints
from memos_assets.memory.beliefs import ended_at
from memos_assets.memory.models import Model, check_answer
from memos_assets.memory.prepared import cause, together
from memos_assets.memory.splitting import split
from memos_assets.memory.vectors import EmbeddingRow
from memos_assets.postgres.schema import agent
from memos_assets.search.embed import Embedder, TextTooLongError, Vectors
from memos_assets.search.embed.embedder import checked

#: Part of an embedding of a text with the one before it in its source.
WITH_PREVIOUS: Final = -1
#: Sources of this kind are a user, whose texts do not follow from each other.
_USERS: Final = "user:"


@dataclass(frozen=True, slots=True)
class StoredText:
    """A memory as it is embedded.

    Attributes:
        number: of the memory.
        space_id: where it is.
        closed_at: when it ended; None: it has not.
        content: its text.
        previous: text of the memory before it in its source; None: it is embedded without.
    """

    number: int
    space_id: int
    closed_at: datetime | None
    content: str
    previous: str | None


@dataclass(frozen=True, slots=True)
class Embedded:
    """Outcome of embedding some memories.

    Attributes:
        rows: embeddings of those that were embedded.
        refused: number of a memory -> code and cause, without its text.
    """

    rows: Sequence[EmbeddingRow]
    refused: Mapping[int, str]

    @property
    def numbers(self) -> list[int]:
        """Numbers of the memories that were embedded, in order."""
        return sorted({row.memory for row in self.rows})


def read_texts(session: Session, numbers: Sequence[int]) -> list[StoredText]:
    """Read the texts of memories, each with the one before it in its source, in order.

    That is the memory with the next lower number of the same space and source, where the source is
    not a user.
    """
    one, before = agent.memories, agent.memories.alias("before")
    previous = (
        sa.select(before.c.content)
        .where(before.c.space_id == one.c.space_id, before.c.source == one.c.source)
        .where(before.c.number < one.c.number)
        .order_by(before.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(
        sa.select(
            one.c.number,
            one.c.space_id,
            ended_at(one),
            one.c.content,
            sa.case((one.c.source.startswith(_USERS), None), else_=previous),
        )
        .where(one.c.number == sa.any_(bigints(numbers)))
        .order_by(one.c.number)
    )
    return [StoredText(*row) for row in rows]


def as_they_are(session: Session, rows: Sequence[EmbeddingRow]) -> list[EmbeddingRow]:
    """Return embeddings with the ends that their memories have now; without those of erased ones.

    The memories are locked until the end of the transaction: they may have ended, or been erased,
    while the model worked.
    """
    one = agent.memories
    numbers = sorted({row.memory for row in rows})
    found = session.execute(
        sa.select(one.c.number, ended_at(one))
        .where(one.c.number == sa.any_(bigints(numbers)))
        .order_by(one.c.number)
        .with_for_update(read=True)
    )
    ends: dict[int, datetime | None] = {row[0]: row[1] for row in found}
    return [replace(row, closed_at=ends[row.memory]) for row in rows if row.memory in ends]


def verify(embedder: Embedder, model: Model) -> None:
    """Refuse an embedder that does not answer, or not as the registered model.

    Raises:
        UsageError: M577 to M579.
        AgentError: M762.
    """
    check_answer(model, model_identity.answer_of(embedder))


def embed_texts(embedder: Embedder, model: Model, texts: Sequence[StoredText]) -> Embedded:
    """Embed memories in one call; where that fails, find those that it fails for.

    A text that the model refuses as too long is embedded in smaller parts.

    Args:
        embedder: of the model, see `verify`.
        model: whose embeddings they become.
        texts: memories.

    Raises:
        UsageError: M577 to M579, where the embedder does not answer any more.
    """
    try:
        return Embedded(list(_rows(embedder, model, texts)), {})
    except MemosAssetsError as error:
        if len(texts) == 1:
            return _alone(embedder, model, texts[0], error)
    # Whether it is the embedder, or one of the texts.
    model_identity.answer_of(embedder)
    middle = len(texts) // 2
    halves = [embed_texts(embedder, model, half) for half in (texts[:middle], texts[middle:])]
    return Embedded(
        [row for half in halves for row in half.rows],
        {number: said for half in halves for number, said in half.refused.items()},
    )


def _alone(embedder: Embedder, model: Model, text: StoredText, error: MemosAssetsError) -> Embedded:
    if isinstance(error, TextTooLongError):
        try:
            vectors = list(_in_halves(embedder, text.content, split(text.content, model.name)))
            return Embedded([_row(text, part, one) for part, one in enumerate(vectors)], {})
        except MemosAssetsError as again:
            error = again
    return Embedded([], {text.number: cause(error)})


def _in_halves(
    embedder: Embedder, content: str, offsets: Sequence[tuple[int, int]]
) -> Iterator[Vectors]:
    """Yield vectors of parts of a text, each as long as the model takes."""
    for start, stop in offsets:
        try:
            yield checked(embedder.embed([content[start:stop]]), 1, where="embedder")[0]
        except TextTooLongError:
            if stop - start < 2:
                raise
            middle = (start + stop) // 2
            # At the end of a word, where there is one in the middle half.
            space = content.rfind(" ", (start + middle) // 2, middle)
            middle = middle if space < 0 else space
            yield from _in_halves(embedder, content, [(start, middle), (middle, stop)])


def _rows(embedder: Embedder, model: Model, texts: Sequence[StoredText]) -> Iterator[EmbeddingRow]:
    places = [(text, part, piece) for text in texts for part, piece in _pieces(text, model.name)]
    given = checked(
        embedder.embed([piece for _, _, piece in places]), len(places), where="embedder"
    )
    for (text, part, _), vector in zip(places, given, strict=True):
        yield _row(text, part, vector)


def _pieces(text: StoredText, model: str) -> Iterator[tuple[int, str]]:
    """Yield what is embedded of a memory: part 0 and up, then with the text before it."""
    for part, (start, stop) in enumerate(split(text.content, model)):
        yield part, text.content[start:stop]
    if text.previous is not None:
        yield WITH_PREVIOUS, together(text.previous, text.content, model)


def _row(text: StoredText, part: int, vector: Vectors) -> EmbeddingRow:
    return EmbeddingRow(text.number, part, text.space_id, text.closed_at, vector)
