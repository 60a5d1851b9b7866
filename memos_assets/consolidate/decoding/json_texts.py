"""JSON that jsonb accepts and keeps whole; the text itself is loaded."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final, Literal

from memos_assets.consolidate.decoding.rejected import RejectedValue, text
from memos_assets.sqlite.row_codec import Value

#: Why JSON cannot be loaded, reasons of its text left out; see `reject_reasons`.
JSON_REASONS: Final = frozenset(
    {
        "json_malformed",
        "json_not_finite",
        "json_nul",
        "json_surrogate",
        "json_number",
        "json_too_deep",
        "json_too_long",
        "json_duplicate_key",
    }
)

#: Python's parser stops at the interpreter's recursion limit, less what is on the stack already.
#: This is well below it, so that the loader and the proof agree wherever they are called from.
DEEPEST_JSON = 400

#: Parsed, the worst JSON takes 30 times its length: this much of it 230 MB.
LONGEST_JSON = 8_000_000

_WIDE_NUMBER = re.compile(r"[eE][+-]?\d{4,}|\d{1000,}")
#: Before the colon of a member is the quote of its key, or white space.
_ENDS_OF_KEYS = ('":', " :", "\t:", "\n:", "\r:")


class _Repeating(list[tuple[str, Any]]):
    """The members of an object that repeats a key, all of them."""


def _refuse_constant(token: str) -> Any:
    raise RejectedValue("json_not_finite", token)


#: `json.loads` with arguments makes a decoder for every value.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)


def _decoded(raw: str) -> Any:
    # The scanner alone, where it takes the whole text: `decode` costs three calls more.
    if raw[:1] in ("{", "["):
        try:
            parsed, end = _STRICT.scan_once(raw, 0)  # type: ignore[attr-defined]  # typeshed lacks it
        except StopIteration:
            return _STRICT.decode(raw)
        if end == len(raw):
            return parsed
    return _STRICT.decode(raw)


def parsed_json(value: Value) -> Any:
    """Parse JSON that jsonb accepts; the text itself is what gets loaded."""
    raw = text(value)
    if len(raw) > LONGEST_JSON:
        raise RejectedValue("json_too_long", f"{len(raw):,} characters")
    repeated: list[str] = []
    try:
        parsed = _decoded(raw)
        if _may_repeat(raw, parsed):
            del parsed  # one of them at a time is in memory
            parsed = _every_member(raw, repeated)
    except json.JSONDecodeError as error:
        raise RejectedValue("json_malformed", f"{error.msg} at character {error.pos}") from None
    except RecursionError:
        raise RejectedValue("json_too_deep", f"{len(raw)} characters") from None
    except ValueError:  # int() refuses more than 4,300 digits
        raise RejectedValue("json_number", "more than 4,300 digits") from None
    if raw.count("[") + raw.count("{") > DEEPEST_JSON:
        _refuse_deep(parsed)
    if "\\u" in raw:
        _refuse_unstorable(parsed)
    if _WIDE_NUMBER.search(raw):
        json.loads(raw, parse_float=_refuse_wide, parse_int=_refuse_wide)
    if repeated:
        raise RejectedValue("json_duplicate_key", repr(repeated[0][:80]))
    return parsed


def _may_repeat(raw: str, parsed: Any) -> bool:
    """Whether an object of the text may have more members than the parsed one; cheap, and safe.

    There are at most as many members as colons, or as colons behind the end of a key. Where one
    object has all of them, nothing is repeated.
    """
    colons = raw.count(":")
    if colons < 2:
        return False
    if not isinstance(parsed, dict):
        return True
    # Colons in strings are as a rule behind something else.
    return len(parsed) != colons and len(parsed) != sum(map(raw.count, _ENDS_OF_KEYS))


def _every_member(raw: str, repeated: list[str]) -> Any:
    """Parse JSON so that no member is lost, and add the keys that an object repeats."""

    def members(pairs: list[tuple[str, Any]]) -> Any:
        found = dict(pairs)
        if len(found) == len(pairs):
            return found
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                repeated.append(key)
            seen.add(key)
        return _Repeating(pairs)

    return json.JSONDecoder(object_pairs_hook=members).decode(raw)


def _children(item: Any) -> Sequence[Any]:
    if isinstance(item, _Repeating):
        return [child for _, child in item]
    if isinstance(item, dict):
        return list(item.values())
    return item if isinstance(item, list) else ()


def _refuse_deep(parsed: Any) -> None:
    level, depth = [parsed], 0
    while level := [item for item in level if isinstance(item, list | dict)]:
        depth += 1
        if depth > DEEPEST_JSON:
            raise RejectedValue("json_too_deep", f"more than {DEEPEST_JSON} levels")
        level = [child for item in level for child in _children(item)]


def _refuse_wide(digits: str) -> None:
    mantissa, _, exponent = digits.lower().partition("e")
    exponent = exponent.lstrip("+-0")
    # int() would refuse an exponent of more than 4,300 digits.
    if len(exponent) > 5 or len(mantissa) + int(exponent or 0) > 16_000:
        raise RejectedValue("json_number", digits[:40])


def _refuse_unstorable(parsed: Any) -> None:
    if isinstance(parsed, str):
        if "\0" in parsed:
            raise RejectedValue("json_nul", repr(parsed[:40]))
        try:
            parsed.encode()
        except UnicodeEncodeError:
            raise RejectedValue("json_surrogate", repr(parsed[:40])) from None
    elif isinstance(parsed, dict | _Repeating):
        for key, item in parsed.items() if isinstance(parsed, dict) else parsed:
            _refuse_unstorable(key)
            _refuse_unstorable(item)
    elif isinstance(parsed, list):
        for item in parsed:
            _refuse_unstorable(item)


def json_text(value: Value) -> str:
    """Return JSON text that jsonb accepts."""
    parsed_json(value)
    assert isinstance(value, str)
    return value


def _is_token_id(term: str) -> bool:
    # Other scripts have digits, too, but no tokenizer numbers its tokens with them.
    return term.isascii() and term.isdecimal()


def sparse_vocabulary(value: Value) -> str | None:
    """Name the vocabulary of stored sparse weights by the form of its terms.

    Returns:
        ``xlmr_token_ids`` when every term is a decimal number (FlagEmbedding), ``words`` when not
        (the Ollama era), ``unknown`` when it is not an object, None when there are no terms.
    """
    parsed = parsed_json(value)
    if not isinstance(parsed, dict):
        return "unknown"
    if not parsed:
        return None
    return "xlmr_token_ids" if all(map(_is_token_id, parsed)) else "words"


class _Number(str):
    """A number as it is spelt."""

    __slots__ = ()


def with_one_value_per_key(raw: str, keep: Literal["first", "last", "all"]) -> str:
    """Return JSON whose objects have each key once; numbers stay as they are spelt.

    Args:
        raw: JSON that jsonb accepts, apart from keys that are repeated.
        keep: which value of a key: the first, the last, or a list of all of them in their order.

    Raises:
        RejectedValue: by these lists it is nested too deeply.
    """
    parsed = json.JSONDecoder(
        object_pairs_hook=lambda pairs: _once(pairs, keep),
        parse_float=_Number,
        parse_int=_Number,
    ).decode(raw)
    # A list of values is one level more.
    _refuse_deep(parsed)
    parts: list[str] = []
    _spell(parsed, parts)
    return "".join(parts)


def _once(pairs: list[tuple[str, Any]], keep: str) -> dict[str, Any]:
    values: dict[str, list[Any]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    if keep == "all":
        return {key: of if len(of) > 1 else of[0] for key, of in values.items()}
    return {key: of[0 if keep == "first" else -1] for key, of in values.items()}


def _spell(value: Any, parts: list[str]) -> None:
    # One frame a level: the deepest JSON is nearly half of what the interpreter allows.
    if isinstance(value, _Number):
        parts.append(value)
    elif isinstance(value, dict):
        for place, (key, item) in enumerate(value.items()):
            parts += ("," if place else "{", json.dumps(key), ":")
            _spell(item, parts)
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            parts.append("," if place else "[")
            _spell(item, parts)
        parts.append("]" if value else "[]")
    else:
        parts.append(json.dumps(value))
