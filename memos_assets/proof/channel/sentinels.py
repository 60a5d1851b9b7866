"""Values at the edges of every type, written and read by both ends of a connection.

A wrong encoding on the way is taken back on the way back, so what one end writes is looked at by
the other: PostgreSQL says in hexadecimal digits what it received, and makes the same values itself
of characters that every encoding has.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from memos_assets.catalog.columns import Stored
from memos_assets.postgres.vector_names import VectorName, type_name

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_TEXTS = (
    "café naïve",
    "Ω ~ 日本語",
    "\U0001f600 \U0010ffff",
    "e\u0301 \u00e9 \u2028 \ufeff \x01 \x7f \x85",
    "\\x41 ''\"%:{}$1",
)
_FLOATS = (0.1, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1 / 3)
_MOMENTS = (
    datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
)
_DATES = (date(2026, 2, 1), date(1, 1, 1), date(9999, 12, 31))
_WHOLE = ([1.0, -0.0, 3.4028234663852886e38], [1e-45, 0.1, -1 / 3])
_HALF = ([1.0, -0.0, 65_504.0], [5.960464477539063e-08, 0.0999755859375, -0.333251953125])


Expression = Callable[[sql.Composable], sql.Composable]


@dataclass(frozen=True, slots=True)
class Sentinel:
    """Values of one type.

    Attributes:
        type: as the catalog spells it.
        received: an expression -> what PostgreSQL has of it, as bytes.
        wire: value -> its bytes in COPY in binary.
        values: to be sent.
        made: value -> an expression in ASCII by which PostgreSQL makes it.
        given: value -> what psycopg sends.
        read: what psycopg returns -> the value.
        before: bytes that COPY puts before what PostgreSQL shows.
        as_text: whether queries return its text.
    """

    type: str
    received: Expression
    wire: Callable[[Any], bytes]
    values: tuple[Any, ...]
    made: Callable[[Any], str]
    given: Callable[[Any], Any] = lambda value: value
    read: Callable[[Any], Any] = lambda value: value
    before: bytes = b""
    as_text: bool = False

    @property
    def expressions(self) -> list[sql.Composable]:
        """The values, as PostgreSQL makes them."""
        name = type_name(self.type)
        return [sql.SQL("{}::{}").format(sql.SQL(self.made(v)), name) for v in self.values]


def _by(name: str, more: str = "") -> Expression:
    return lambda value: sql.SQL(f"{name}({{}}{more})").format(value)


def _by_pgvector(name: str) -> Expression:
    return lambda value: sql.SQL("{}({})").format(VectorName(name), value)


def _utf8(text: str) -> str:
    return f"convert_from(decode('{text.encode().hex()}', 'hex'), 'UTF8')"


def _json(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\x01", "\\u0001")
    return f'{{"{escaped}": 0.1}}'


def _embeddings(name: Stored, letter: str, values: tuple[list[float], ...]) -> Sentinel:
    return Sentinel(
        name,
        _by_pgvector(f"{name}_send"),
        lambda value: struct.pack(f">hh{len(value)}{letter}", len(value), 0, *value),
        values,
        lambda value: f"'{value}'",
        given=str,
        read=lambda text: [float(element) for element in text.strip("[]").split(",")],
        as_text=True,
    )


SENTINELS = (
    Sentinel("text", _by("convert_to", ", 'UTF8'"), str.encode, _TEXTS, _utf8),
    Sentinel(
        "jsonb",
        _by("convert_to", "::text, 'UTF8'"),
        lambda text: b"\x01" + text.encode(),
        tuple(map(_json, _TEXTS)),
        _utf8,
        before=b"\x01",
        as_text=True,
    ),
    Sentinel(
        "bytea",
        lambda value: value,
        bytes,
        (bytes(range(256)),),
        lambda value: f"decode('{value.hex()}', 'hex')",
    ),
    Sentinel(
        "double precision",
        _by("float8send"),
        lambda number: struct.pack(">d", number),
        _FLOATS,
        lambda number: f"'{number!r}'",
    ),
    Sentinel(
        "bigint",
        _by("int8send"),
        lambda number: struct.pack(">q", number),
        (-(2**63), 2**63 - 1, 2**53 + 1),
        lambda number: f"'{number}'",
    ),
    Sentinel(
        "timestamp with time zone",
        _by("timestamptz_send"),
        lambda moment: struct.pack(">q", (moment - _EPOCH) // timedelta(microseconds=1)),
        _MOMENTS,
        lambda moment: f"'{moment.isoformat()}'",
    ),
    Sentinel(
        "date",
        _by("date_send"),
        lambda day: struct.pack(">i", (day - _EPOCH.date()).days),
        _DATES,
        lambda day: f"'{day.isoformat()}'",
    ),
    _embeddings("vector", "f", _WHOLE),
    _embeddings("halfvec", "e", _HALF),
)


def differences(driver: psycopg.Connection) -> list[str]:
    """Return what does not arrive as it was sent, by type and way; empty where everything does.

    Args:
        driver: in a transaction whose changes are taken back; a temporary table is made in it.
    """
    return [fault for one in SENTINELS for fault in _differences(driver, one)]


def _differences(driver: psycopg.Connection, one: Sentinel) -> Iterator[str]:
    wires = [one.wire(value) for value in one.values]
    for way, look in _WAYS.items():
        try:
            with driver.transaction():
                found = look(driver, one, wires)
        except (psycopg.Error, UnicodeError, OverflowError) as error:
            yield f"{one.type} {way}: {str(error).splitlines()[0]}"
            continue
        for value, wanted, got in zip(one.values, wires, found, strict=True):
            if got != wanted:
                yield f"{one.type} {way}: {value!a} is {_shown(got)}, not {_shown(wanted)}"
                break


def _shown(wire: bytes) -> str:
    return wire[:24].hex() + ("..." if len(wire) > 24 else "")


def _as_parameters(driver: psycopg.Connection, one: Sentinel, _: list[bytes]) -> list[bytes]:
    value = sql.SQL("%s::{}").format(type_name(one.type))
    shown = sql.SQL("encode({}, 'hex')").format(one.received(value))
    query = sql.SQL("select {}").format(sql.SQL(", ").join([shown] * len(one.values)))
    row = driver.execute(query, [one.given(value) for value in one.values]).fetchone()
    return [one.before + bytes.fromhex(digits) for digits in row or ()]


def _by_copy(driver: psycopg.Connection, one: Sentinel, wires: list[bytes]) -> list[bytes]:
    table = sql.Identifier("pg_temp", "sentinels")
    rows = b"".join(
        struct.pack(">hiii", 2, 4, number, len(wire)) + wire for number, wire in enumerate(wires)
    )
    shown = sql.SQL("select encode({}, 'hex') from {} order by number").format(
        one.received(sql.Identifier("value")), table
    )
    with driver.cursor() as cursor:
        cursor.execute(
            sql.SQL("create table {} (number integer, value {})").format(table, type_name(one.type))
        )
        with cursor.copy(sql.SQL("copy {} from stdin (format binary)").format(table)) as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + rows + b"\xff\xff")
        found = [one.before + bytes.fromhex(digits) for (digits,) in cursor.execute(shown)]
        cursor.execute(sql.SQL("drop table {}").format(table))
    return found


def _as_results(driver: psycopg.Connection, one: Sentinel, _: list[bytes]) -> list[bytes]:
    text = sql.SQL("::text" if one.as_text else "")
    parts = [sql.SQL("({}){}").format(expression, text) for expression in one.expressions]
    row = driver.execute(sql.SQL("select {}").format(sql.SQL(", ").join(parts))).fetchone()
    return [one.wire(one.read(value)) for value in row or ()]


def _out_by_copy(driver: psycopg.Connection, one: Sentinel, _: list[bytes]) -> list[bytes]:
    made = sql.SQL(", ").join(one.expressions)
    statement = sql.SQL("copy (select {}) to stdout (format binary)").format(made)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        return [bytes(field) for row in copy.rows() for field in row]


_WAYS: dict[str, Callable[[psycopg.Connection, Sentinel, list[bytes]], list[bytes]]] = {
    "sent as parameters": _as_parameters,
    "sent by COPY": _by_copy,
    "returned by queries": _as_results,
    "returned by COPY": _out_by_copy,
}
