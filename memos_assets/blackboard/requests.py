"""What is asked of a board: one write each, checked before anything is sent.

A board holds entries by level and key. Levels of records are append-only (``once``): a record with
the key of another one is that one. Keys of other levels are registers, whose strategy is that of
their first write: ``last``, ``cas`` (the version that was read is named), ``union`` (a set) or
``review`` (another agent decides).
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from memos_assets.equal_texts import normalised
from memos_assets.errors import AgentError

Strategy = Literal["once", "last", "cas", "union", "review"]
#: ``decide`` accepts or rejects what waits for a review, ``drop`` removes an entry.
Action = Strategy | Literal["decide", "drop"]

QUESTIONS: Final = "questions"
SEARCHES: Final = "searches"
FINDINGS: Final = "findings"
CONTRADICTIONS: Final = "contradictions"
ENTITIES: Final = "entities"
RELATIONS: Final = "relations"
NOTES: Final = "notes"
ACTIONS: Final = "actions"
SYNTHESES: Final = "syntheses"
PROMOTIONS: Final = "promotions"
PUBLIC: Final = "public"
#: The board itself; its state is one entry.
BOARD: Final = "board"

#: Most bytes of one value as JSON, and characters of a level or a key.
MOST_BYTES: Final = 65_536
LONGEST_NAME: Final = 300
#: Most levels of lists and mappings within one another, so that every reader can parse a value.
MOST_DEPTH: Final = 100
#: Most requests of one post, which are one transaction.
MOST_REQUESTS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One write to a board.

    Attributes:
        level: of the entry.
        key: of the entry within its level.
        value: JSON; None for ``decide`` and ``drop``.
        strategy: None: that of the key, or ``last`` at its first write.
        expected: with ``cas``, the version that the writer has read; 0: there was none.
        ttl: seconds until it expires; None: it does not.
        item: digest of the value of a key with several; for ``decide`` and ``drop``.
        accept: for ``decide``.
        guard: (level, seq): refused if the level has a later event.
    """

    level: str
    key: str
    value: Any = None
    strategy: Action | None = None
    expected: int | None = None
    ttl: float | None = None
    item: str = ""
    accept: bool = False
    guard: tuple[str, int] | None = None

    def checked(self) -> "Request":
        """Return the request if PostgreSQL can store it.

        Raises:
            AgentError: M923 a name or a value cannot be stored.
        """
        named(self.level, "level")
        named(self.key, "key")
        if self.item:
            named(self.item, "item")
        if self.strategy not in ("decide", "drop"):
            storable_json(self.value, f"{self.level} {self.key}"[:80])
        if self.ttl is not None and not (
            isinstance(self.ttl, int | float) and 0 < self.ttl < 3.2e9
        ):
            raise unusable("the life is not a positive number of seconds", "ttl")
        return self

    def as_json(self) -> dict[str, Any]:
        """Return it as `agent.board_post` reads it."""
        sent: dict[str, Any] = {"level": self.level, "key": self.key, "value": self.value}
        if self.strategy is not None:
            sent["strategy"] = self.strategy
        if self.expected is not None:
            sent["expected"] = str(int(self.expected))
        if self.ttl is not None:
            sent["ttl"] = float(self.ttl)
        if self.item:
            sent["item"] = self.item
        if self.strategy == "decide":
            sent["accept"] = self.accept
        if self.guard is not None:
            sent["guard"] = {"level": self.guard[0], "after": self.guard[1]}
        return sent


def checked(requests: Iterable[Request]) -> list[Request]:
    """Return requests that one post may hold; a union of several values becomes one for each.

    Raises:
        AgentError: M923 as `Request.checked`, or none at all; M927 too many.
    """
    whole: list[Request] = []
    for request in requests:
        if request.strategy == "union" and isinstance(request.value, list | tuple | set):
            whole += [replace(request, value=one).checked() for one in request.value]
        else:
            whole.append(request.checked())
        if len(whole) > MOST_REQUESTS:
            raise AgentError(
                "M927",
                f"more than {MOST_REQUESTS:,} writes in one post",
                where="board",
                fix="post them in several calls; nothing was stored",
            )
    if not whole:
        raise unusable("there is nothing to post", "requests")
    return whole


def digest(*parts: object) -> str:
    """Return a key made of parts: 32 hexadecimal digits of their sha256."""
    said = json.dumps(parts, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def slot(level: str, key: str, item: str = "") -> str:
    """Return the slot of an entry, as `agent.board_append` computes it; of ASCII names."""
    return hashlib.sha256(json.dumps([level, key, item]).encode()).hexdigest()


def text_digest(*parts: str) -> str:
    """Return a key made of texts, of which equal ones are the same."""
    return digest(*map(normalised, parts))


def named(value: object, name: str) -> str:
    """Return a name that PostgreSQL can store and index.

    Raises:
        AgentError: M923.
    """
    text = storable(value, name).strip()
    if len(text) > LONGEST_NAME:
        raise unusable(f"has {len(text):,} characters, at most {LONGEST_NAME} are stored", name)
    return text


def storable(value: object, name: str) -> str:
    """Return a text that PostgreSQL can store.

    Raises:
        AgentError: M923; the message does not repeat the text.
    """
    if not isinstance(value, str):
        raise unusable(f"is {type(value).__name__}, not text", name)
    if not value.strip():
        raise unusable("is empty", name)
    _encoded(value, name)
    return value


def storable_json(value: Any, name: str) -> str:
    """Return a value as JSON that PostgreSQL can store.

    Raises:
        AgentError: M923.
    """
    if value is None:
        raise unusable("has no value", name)
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except RecursionError:
        raise unusable(f"has more than {MOST_DEPTH} levels", name) from None
    except (TypeError, ValueError) as error:
        raise unusable(f"is not JSON ({type(error).__name__})", name) from None
    if "\\u0000" in text:
        raise unusable("has a NUL, which PostgreSQL does not store", name)
    _encoded(text, name)
    if _depth(value) > MOST_DEPTH:
        raise unusable(f"has more than {MOST_DEPTH} levels", name)
    return text


def _depth(value: Any) -> int:
    """Return how many lists and mappings are within one another, at most one more than allowed."""
    level, depth = [value], 0
    while depth <= MOST_DEPTH:
        inner: list[Any] = []
        for one in level:
            if isinstance(one, Mapping):
                inner += one.values()
            elif isinstance(one, list | tuple):
                inner += one
        if not inner:
            return depth
        level, depth = inner, depth + 1
    return depth


def _encoded(text: str, name: str) -> None:
    if "\0" in text:
        raise unusable("has a NUL, which PostgreSQL does not store", name)
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise unusable("has half of a surrogate pair, which is not a character", name) from None
    if size > MOST_BYTES:
        raise unusable(f"has {size:,} bytes, at most {MOST_BYTES:,} are stored", name)


def share(value: object, name: str) -> float:
    """Return a number between 0 and 1.

    Raises:
        AgentError: M924; a confidence above 1 would outrank every honest one.
    """
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= 1:
        raise AgentError(
            "M924",
            f"the {name} is not a number from 0 to 1",
            where="board",
            fix="scale it to the range; nothing was stored",
        )
    return float(number)


def unusable(what: str, name: str) -> AgentError:
    """Return M923 about one argument; the message does not repeat its text."""
    return AgentError(
        "M923",
        f"the {name} {what}" if not what.startswith("the") else what,
        where="board",
        fix="correct the argument; nothing was stored",
    )
