"""What may be stored of what was computed, by rule; a caller gets its value in any case.

Refused: errors, answers that are not complete, answers of tools that act, streams, what JSON does
not give back as it was, and what is too large.
"""

import inspect
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from uuid import UUID

from memos_assets.cache.namespaces import MOST_BYTES

Refusal = Literal["error", "partial", "acted", "stream", "not json", "too large", "not asked"]

#: Reasons of a model for ending before the answer was complete.
_CUT_OFF: Final = frozenset({"length", "max_tokens", "content_filter", "error", "cancelled"})


@dataclass(frozen=True, slots=True)
class Computed:
    """What a computation returns if it has more to say than the value.

    Attributes:
        value: for the caller, and for JSON.
        cites: ids of memories on which it rests; the answer ends with each of them.
        negative: nothing was found; it lives shortly. A value of None is negative by itself.
        partial: the answer is not complete.
        acted: something was done (a mail was sent), and has to be done again next time.
        store: false: not to be stored for whatever reason.
        ttl: seconds, in place of the namespace's.
    """

    value: Any
    cites: Sequence[UUID | str] = ()
    negative: bool = False
    partial: bool = False
    acted: bool = False
    store: bool = True
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Storable:
    """A value as it is stored.

    Attributes:
        text: its JSON, ASCII alone.
        cites: ids of memories.
        negative: whether nothing was found.
        ttl: seconds, None: the namespace's.
    """

    text: str = field(repr=False)
    cites: tuple[UUID, ...] = ()
    negative: bool = False
    ttl: float | None = None


def storable(computed: Any, most_bytes: int = MOST_BYTES) -> Storable | Refusal:
    """Return how a computed value is stored, or why it is not.

    Args:
        computed: a value, or `Computed`.
        most_bytes: of its JSON.
    """
    said = computed if isinstance(computed, Computed) else Computed(computed)
    try:
        if refused := _refused(said):
            return refused
        text = json.dumps(said.value, allow_nan=False)
        if len(text) > most_bytes:
            return "too large"
        if not _same(json.loads(text), said.value):
            return "not json"
        cites = tuple(sorted({one if isinstance(one, UUID) else UUID(one) for one in said.cites}))
    except Exception:  # noqa: BLE001  the objects of callers raise what they like when looked at
        return "not json"
    return Storable(text, cites, said.negative or said.value is None, said.ttl)


def _refused(said: Computed) -> Refusal | None:
    value = said.value
    if not said.store:
        return "not asked"
    if said.acted:
        return "acted"
    if isinstance(value, BaseException):
        return "error"
    if isinstance(value, AsyncIterator | Iterator) or inspect.isawaitable(value):
        return "stream"
    if said.partial:
        return "partial"
    if isinstance(value, Mapping):
        if value.get("success") is False or value.get("error"):
            return "error"
        if value.get("partial") or _is_cut_off(value.get("finish_reason")):
            return "partial"
        if value.get("acted") or value.get("side_effects"):
            return "acted"
    return None


def _is_cut_off(reason: Any) -> bool:
    return isinstance(reason, str) and reason in _CUT_OFF


def _same(read: Any, value: Any) -> bool:
    """Whether JSON gives a value back as it was: a tuple would become a list, 1 as a key "1"."""
    if isinstance(value, dict):
        return (
            isinstance(read, dict)
            and read.keys() == value.keys()
            and all(_same(one, value[name]) for name, one in read.items())
        )
    if isinstance(value, list):
        return isinstance(read, list) and all(map(_same, read, value))
    return type(read) is type(value) and bool(read == value)
