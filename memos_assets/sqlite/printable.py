"""Show a stored value to people, on one line."""

from collections.abc import Collection

import numpy as np

from memos_assets.sqlite.row_codec import Value

#: Characters of a text, or bytes of a BLOB, that are shown.
_CHARACTERS, _BYTES = 160, 16


def shown_value(value: Value, lengths: Collection[int] = ()) -> str:
    """Return a value on one line: text shortened and escaped, a BLOB by size and first bytes.

    Args:
        value: as sqlite3 returns it.
        lengths: elements that an embedding may have; a BLOB of such a length is named as one.
    """
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes {value[:_BYTES].hex(' ')}: {looks_like(value, lengths)}"
    text = str(value)
    cut = f" ... ({len(text):,} characters)" if len(text) > _CHARACTERS else ""
    return printable(text[:_CHARACTERS]) + cut


def printable(text: str) -> str:
    """Return a text in which characters that a terminal would act upon are escaped."""
    return "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if "\udc80" <= character <= "\udcff":
        return f"\\x{ord(character) - 0xDC00:02x}"  # a byte that is not UTF-8
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def looks_like(blob: bytes, lengths: Collection[int] = ()) -> str:
    """Guess the content of a BLOB; bytes do not name their type."""
    if not blob:
        return "nothing"
    if not any(blob):
        return "zeros"
    if blob[:1] in (b"[", b"{"):
        return "JSON text"
    readings = [
        _reading(name, dtype, blob)
        for name, dtype, size in (("float32", "<f4", 4), ("float16", "<f2", 2))
        if len(blob) % size == 0 and len(blob) // size in lengths
    ]
    if readings:
        return " or ".join(readings)
    try:
        return "text" if blob.decode().isprintable() else "bytes"
    except UnicodeDecodeError:
        return "bytes"


def _reading(name: str, dtype: str, blob: bytes) -> str:
    elements = np.frombuffer(blob, dtype)
    odd = [
        f"{count:,} {what}"
        for what, count in (
            ("NaN", int(np.isnan(elements).sum())),
            ("infinite", int(np.isinf(elements).sum())),
        )
        if count
    ]
    return f"{name} of {len(elements):,}{' with ' if odd else ''}{' and '.join(odd)}"
