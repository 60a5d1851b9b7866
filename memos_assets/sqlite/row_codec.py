"""Rows of SQLite as bytes and digests, every value as it is stored."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from typing import Protocol

Value = None | int | float | str | bytes

#: Characters of a longer TEXT that are encoded at once for a digest.
_SLICE = 1024 * 1024
_SIZED = (str, bytes)


class Digest(Protocol):
    """A digest of `hashlib`."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""


def row_digest(values: Sequence[Value]) -> bytes:
    """Return the sha256 of one row as stored."""
    digest = hashlib.sha256()
    add_row(digest, values)
    return digest.digest()


def add_row(digest: Digest, values: Sequence[Value]) -> int:
    """Add a row to a digest as `row_bytes` writes it, long values in slices; return its bytes."""
    if not any(isinstance(value, _SIZED) and len(value) > _SLICE for value in values):
        raw = row_bytes(values)
        digest.update(raw)
        return len(raw)
    size = 0
    for part in _parts(values):
        digest.update(part)
        size += len(part)
    return size


def row_bytes(values: Sequence[Value]) -> bytes:
    """Write one row so that `row_values` returns it bit for bit.

    Value after value: ``n`` NULL; ``i<digits>;`` INTEGER; ``f`` and 8 bytes, a little-endian
    float64, REAL; ``t<length>:`` and the bytes of a TEXT; ``b<length>:`` and those of a BLOB.
    """
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(b"n")
        elif isinstance(value, str):
            raw = value.encode("utf-8", "surrogateescape")
            parts += (b"t%d:" % len(raw), raw)
        elif isinstance(value, bytes):
            parts += (b"b%d:" % len(value), value)
        elif isinstance(value, int):
            parts.append(b"i%d;" % value)
        else:
            parts += (b"f", struct.pack("<d", value))
    return b"".join(parts)


def _parts(values: Sequence[Value]) -> Iterator[bytes]:
    """Yield what `row_bytes` returns; no long value is copied as a whole."""
    for value in values:
        if not isinstance(value, _SIZED) or len(value) <= _SLICE:
            yield row_bytes([value])
        elif isinstance(value, bytes):
            yield b"b%d:" % len(value)
            yield value
        else:
            size = len(value) if value.isascii() else sum(map(len, _encoded(value)))
            yield b"t%d:" % size
            yield from _encoded(value)


def _encoded(text: str) -> Iterator[bytes]:
    for start in range(0, len(text), _SLICE):
        yield text[start : start + _SLICE].encode("utf-8", "surrogateescape")


def row_values(raw: bytes) -> list[Value]:
    """Read a row that `row_bytes` wrote; bytes of a TEXT that are not UTF-8 are lone surrogates."""
    values: list[Value] = []
    place = 0
    while place < len(raw):
        kind, place = raw[place : place + 1], place + 1
        if kind == b"n":
            values.append(None)
        elif kind == b"f":
            values.append(float(struct.unpack_from("<d", raw, place)[0]))
            place += 8
        elif kind == b"i":
            end = raw.index(b";", place)
            values.append(int(raw[place:end]))
            place = end + 1
        else:
            start = raw.index(b":", place) + 1
            place = start + int(raw[place : start - 1])
            value = raw[start:place]
            values.append(value if kind == b"b" else value.decode("utf-8", "surrogateescape"))
    return values
