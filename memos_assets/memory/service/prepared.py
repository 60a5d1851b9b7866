"""Memories and queries made ready outside of a transaction: checked, encrypted, embedded.

No connection waits for a model: `prepared` is plain computation, `embedded` and `embedded_query`
ask the embedder, and the operations of `store` and `ranked` take their results.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from memos_assets.catalog.columns import MXBAI
from memos_assets.errors import AgentError, UsageError
from memos_assets.memory.service.crypto import KeyRing, content_digest
from memos_assets.memory.service.privacy import anonymised, anonymised_values, need_permitted
from memos_assets.memory.service.therapeutic import MOST_TAGS, summary
from memos_assets.memory.service.values import (
    MemoryType,
    PrivacyLevel,
    bounded,
    one_of,
    refused,
    short_text,
)
from memos_assets.memory.splitting import split
from memos_assets.postgres.storable_text import is_storable
from memos_assets.search.embed import AsyncEmbedder, Vectors, check_fit

#: Elements of ``embedding_vector``.
DIMENSION: Final = 1_024
#: Longest content, in bytes of UTF-8. A longer one is a document, and belongs into a corpus.
MOST_BYTES: Final = 1_048_576
_TAG_LENGTH = 100
#: The embedder gave no usable answer; the memory is kept and waits for its embedding.
_NO_ANSWER = "M578"

Embedding = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PreparedMemory:
    """A memory that only has to be written.

    Attributes:
        content: as it was given.
        token: the content, encrypted.
        content_hash: sha256 of the content, 64 hex digits.
        readable: the content as its privacy level lets it be read; it is embedded.
        memory_type: its type.
        privacy_level: whose rules it keeps.
        metadata: of the caller, anonymised; None: none.
        source_conversation_id: where it was said.
        tags: of the caller; None: those of the text.
        recovery_stage: of the caller; None: the user's.
        therapeutic_relevance: of the caller, 0 to 1; None: that of the text.
        consent_given: without it nothing is stored.
        embedding: float32, ``(1024,)``, of length 1; None: it waits for one.
        embedding_model: that gave it.
        waits: code of the error by which it has no embedding.
    """

    content: str = field(repr=False)
    token: bytes = field(repr=False)
    content_hash: str = field(repr=False)
    readable: str = field(repr=False)
    memory_type: MemoryType
    privacy_level: PrivacyLevel
    metadata: Mapping[str, Any] | None = field(default=None, repr=False)
    source_conversation_id: str | None = None
    tags: tuple[str, ...] | None = field(default=None, repr=False)
    recovery_stage: str | None = None
    therapeutic_relevance: float | None = None
    consent_given: bool = True
    embedding: Embedding | None = field(default=None, repr=False, compare=False)
    embedding_model: str | None = None
    waits: str | None = None

    @property
    def summary(self) -> str:
        """What may be read of it, at most 200 characters."""
        return summary(self.readable)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A query with its embedding: float32, ``(1024,)``."""

    text: str = field(repr=False)
    embedding: Embedding = field(repr=False, compare=False)
    model: str


def prepared(
    keys: KeyRing,
    content: str,
    *,
    memory_type: str = MemoryType.CONVERSATIONAL,
    privacy_level: str = PrivacyLevel.BALANCED,
    metadata: Mapping[str, Any] | None = None,
    source_conversation_id: str | None = None,
    tags: Sequence[str] | None = None,
    recovery_stage: str | None = None,
    therapeutic_relevance: float | None = None,
    consent_given: bool = True,
) -> PreparedMemory:
    """Check and encrypt a memory; it has no embedding yet.

    Args:
        keys: of `crypto.key_ring`.
        content: what is remembered, at most 1 MiB.
        memory_type: a value of `MemoryType`.
        privacy_level: a value of `PrivacyLevel`.
        metadata: JSON; it is stored in ``entities``, readable, as ``{"metadata": [metadata]}``.
        source_conversation_id: at most 255 characters.
        tags: five are kept; None: those of the text.
        recovery_stage: None: the one of the user's settings.
        therapeutic_relevance: 0 to 1; None: that of the text and the stage.
        consent_given: the user agreed.

    Raises:
        AgentError: M743 the content cannot be stored; M745 its level does not permit it; M746
            another value cannot be.
    """
    need_storable(content)
    kind = one_of(MemoryType, memory_type, "memory_type")
    level = one_of(PrivacyLevel, privacy_level, "privacy_level")
    need_permitted(content, level)
    if therapeutic_relevance is not None:
        bounded(therapeutic_relevance, "therapeutic_relevance", 0, 1)
    return PreparedMemory(
        content=content,
        token=keys.encrypt(content),
        content_hash=content_digest(content),
        readable=anonymised(content, level),
        memory_type=kind,
        privacy_level=level,
        metadata=None if metadata is None else _metadata(metadata, level),
        source_conversation_id=short_text(source_conversation_id, "source_conversation_id"),
        tags=None if tags is None else checked_tags(tags, level),
        recovery_stage=short_text(recovery_stage, "recovery_stage"),
        therapeutic_relevance=therapeutic_relevance,
        consent_given=consent_given,
    )


async def embedded(
    embedder: AsyncEmbedder | None, memories: Sequence[PreparedMemory]
) -> list[PreparedMemory]:
    """Return memories with their embeddings, asked for at once; hold no connection meanwhile.

    Where the embedder gives no usable answer, the memories wait for one: zeros are never stored.

    Raises:
        AgentError: M748 its vectors are not those of the table.
        UsageError: M577 a setting or package of the embedder is missing.
    """
    if embedder is None or not memories:
        return list(memories)
    rows = await embedded_texts(embedder, [memory.readable for memory in memories])
    if rows is None:
        return [replace(memory, waits=_NO_ANSWER) for memory in memories]
    return [
        replace(memory, embedding=row, embedding_model=embedder.model, waits=None)
        for memory, row in zip(memories, rows, strict=True)
    ]


async def embedded_texts(embedder: AsyncEmbedder, texts: Sequence[str]) -> list[Embedding] | None:
    """Return embeddings of texts, each of length 1; None: the embedder gives no usable answer.

    A row has one embedding: a text that is longer than the model reads has the mean of its parts'.

    Raises:
        AgentError: M748 its vectors are not those of the table.
        UsageError: M577 a setting or package of the embedder is missing.
    """
    parts: list[str] = []
    ends: list[int] = []
    for text in (given.strip() for given in texts):
        parts += [text[start:stop].strip() for start, stop in split(text, embedder.model)]
        ends.append(len(parts))
    try:
        vectors = await embedder.embed(parts)
    except UsageError as error:
        if error.code == _NO_ANSWER:
            return None
        raise _misfit(error) from None
    rows = np.asarray(_fitting(embedder.model, vectors))
    means = [one.mean(axis=0) for one in np.split(rows, ends[:-1])]
    return _fitting(embedder.model, np.asarray(means))


async def embedded_query(embedder: AsyncEmbedder, text: str) -> SearchQuery:
    """Return a query with its embedding; hold no connection meanwhile.

    Raises:
        AgentError: M743 an empty text, or one with NUL; M748 as `embedded`.
        UsageError: M577, M578 the embedder gives none.
    """
    need_storable(text)
    try:
        vector = await embedder.embed_query(text)
    except UsageError as error:
        raise (_misfit(error) if error.code == "M579" else error) from None
    return SearchQuery(text, _fitting(embedder.model, vector[np.newaxis])[0], embedder.model)


def need_storable(content: str) -> None:
    """Refuse content that PostgreSQL cannot hold, or that is none or too much.

    Raises:
        AgentError: M743.
    """
    what = ""
    if not isinstance(content, str):
        what = f"the content is of type {type(content).__name__}"
    elif not content.strip():
        what = "the content is empty"
    elif not is_storable(content):
        what = "the content has a NUL or half a surrogate pair"
    elif (size := len(content.encode())) > MOST_BYTES:
        what = f"the content has {size:,} bytes, {MOST_BYTES:,} is the most"
    if what:
        raise AgentError(
            "M743", what, where="content", fix="pass a text without these; nothing was stored"
        )


def checked_tags(tags: Sequence[str], level: PrivacyLevel) -> tuple[str, ...]:
    """Return the first five different tags, anonymised.

    Raises:
        AgentError: M746 one of them is empty, too long, or not text.
    """
    for tag in tags:
        good = isinstance(tag, str) and 0 < len(tag.strip()) <= _TAG_LENGTH and is_storable(tag)
        if not good or isinstance(tags, str):
            raise refused(
                "tags", "has one that cannot be stored", f"texts of 1 to {_TAG_LENGTH} characters"
            )
    return tuple(dict.fromkeys(anonymised(tag, level) for tag in tags))[:MOST_TAGS]


def _metadata(metadata: Mapping[str, Any], level: PrivacyLevel) -> dict[str, Any]:
    found: dict[str, Any] = anonymised_values(metadata, level)
    if not is_json(found):
        raise refused("metadata", "is not JSON that PostgreSQL can hold", "texts, finite numbers")
    return found


def is_json(value: Any) -> bool:
    """Whether PostgreSQL can hold a value as JSON: finite numbers, texts without NUL."""
    if isinstance(value, str):
        return is_storable(value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_storable(key) for key in value) and all(
            map(is_json, value.values())
        )
    if isinstance(value, list):
        return all(map(is_json, value))
    return (
        value is None
        or isinstance(value, bool | int)
        or (isinstance(value, float) and bool(np.isfinite(value)))
    )


def _fitting(model: str, vectors: Vectors) -> list[Embedding]:
    """Return vectors of length 1, as memOS stores them; those of another model are refused."""
    try:
        check_fit("public.memories", {DIMENSION: MXBAI}, model=model, dimension=vectors.shape[1])
    except UsageError as error:
        raise _misfit(error) from None
    if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
        raise AgentError(
            "M748",
            "a vector of zeros, NaN or infinite elements",
            where=model,
            fix="see the log of the embedder; nothing was stored",
        )
    wide = vectors.astype(np.float64)
    return list((wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32))


def _misfit(error: UsageError) -> AgentError | UsageError:
    if error.code != "M579":
        return error
    return AgentError("M748", error.what, where="public.memories", fix=error.fix)
