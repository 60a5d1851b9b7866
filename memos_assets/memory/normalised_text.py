"""Normalised text: what is compared where two memories say the same, and names of things."""

import hashlib
import json

from memos_assets.equal_texts import normalised
from memos_assets.errors import AgentError

#: Longest text of a memory, in bytes of UTF-8: PostgreSQL's lexemes of one text end at 1 MB, and
#: those of a text of this size never reach it.
MOST_BYTES = 262_144
#: Longest name of a user, an agent, a space, a subject, an attribute or a source, in characters,
#: and in bytes of UTF-8: two of them and a number are one key of an index, of 2,704 bytes at most.
LONGEST_NAME = 500
LONGEST_NAME_BYTES = 1_300


def content_digest(text: str, subject: str | None, attribute: str | None) -> str:
    """Return the sha256, in hexadecimal, of a normalised text with its subject and attribute."""
    said = json.dumps([normalised(text), subject, attribute], ensure_ascii=False)
    return hashlib.sha256(said.encode()).hexdigest()


def storable(text: object, name: str) -> str:
    """Return a text that PostgreSQL stores as it is.

    Args:
        text: given by the caller.
        name: of the argument, for the message, which never repeats the text.

    Raises:
        AgentError: M730 another type, empty, or with NUL or half a surrogate pair.
    """
    if not isinstance(text, str):
        raise _unusable(f"is {type(text).__name__}", name, "pass text")
    if not text.strip():
        raise _unusable("is empty", name, "pass text that says something")
    if "\0" in text:
        raise _unusable("has a NUL, which PostgreSQL does not store", name, "remove the NUL")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _unusable(
            "has half of a surrogate pair, which is not a character",
            name,
            "decode it again, with errors='replace'",
        ) from None
    if size > MOST_BYTES:
        raise _unusable(
            f"has {size:,} bytes, the longest has {MOST_BYTES:,}",
            name,
            "remember it in sections, each with the same source",
        )
    return text


def storable_name(text: object, name: str) -> str:
    """Return a name of a space, an agent, a source, without white space around it.

    Raises:
        AgentError: M730 as `storable`, or too long for an index.
    """
    return _short(storable(text, name).strip(), name)


def storable_id(text: object, name: str) -> str:
    """Return the id of a user exactly as it is: two that differ by white space are two users.

    Raises:
        AgentError: M730 as `storable_name`.
    """
    return _short(storable(text, name), name)


def _short(value: str, name: str) -> str:
    if len(value) > LONGEST_NAME:
        raise _unusable(
            f"has {len(value):,} characters, the longest has {LONGEST_NAME}", name, "shorten it"
        )
    size = len(value.encode())
    if size > LONGEST_NAME_BYTES:
        raise _unusable(
            f"has {size:,} bytes, the longest has {LONGEST_NAME_BYTES:,}", name, "shorten it"
        )
    return value


def normalised_name(text: object, name: str) -> str:
    """Return a subject or an attribute in its normalised form, in which it is stored.

    "Anna" and "anna" are one subject: a value that is not recognised as the same would stay current
    beside the new one.

    Raises:
        AgentError: M730 as `storable_name`.
    """
    # Some characters become several.
    return _short(normalised(storable_name(text, name)), name)


def _unusable(what: str, name: str, fix: str) -> AgentError:
    return AgentError("M730", f"the {name} {what}", where="memory", fix=fix)
