"""Types of columns: one row says all that is needed to create, write and read a column of a type.

A new type is one more row of `TYPES`; its arrays and its round-trip test come with it. How SQLite
stores a value is another question: several kinds of stored value (`columns.ColumnKind`) may become
one type.

The codecs are in this room, below the rooms that open connections, so that a row names them and
nothing above has a list of types. pyarrow and SQLAlchemy are imported with it; `columns`, `tables`
and `application` name types without it, so that a catalog is declared without either.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy.dialects import postgresql as pg

from memos_assets.catalog.binary_codecs import (
    SPARSE_VECTOR,
    Array,
    Bytes,
    Codec,
    FixedBytes,
    Number,
    SparseVector,
    Vector,
)
from memos_assets.errors import UsageError

#: Microseconds and days from 1970 to 2000, PostgreSQL's epoch.
_EPOCH_MICROSECONDS, _EPOCH_DAYS = 946_684_800_000_000, 10_957
#: The years 1 to 9999 in days since 1970, and in microseconds. PostgreSQL holds more, and infinity;
#: Python holds these. A value that a reader could not look at is refused on both ways.
_DAYS = (-719_162, 2_932_896)
_MICROSECONDS = (_DAYS[0] * 86_400_000_000, (_DAYS[1] + 1) * 86_400_000_000 - 1)


@dataclass(frozen=True, slots=True)
class ColumnType:
    """One type of column, on both sides.

    Attributes:
        name: as PostgreSQL and SQLAlchemy spell it.
        sqlalchemy: makes SQLAlchemy's type, from the length if the type has one.
        arrow: the type in Arrow.
        codec: between Arrow and fields of COPY in binary.
        oid: PostgreSQL's number of the type, by which its arrays name it. None: there are no arrays
            of it. Types of extensions have another number in every database.
        sized: whether a length may follow the name: characters, or elements of an embedding.
    """

    name: str
    sqlalchemy: Callable[..., sa.types.TypeEngine[Any]]
    arrow: pa.DataType
    codec: Codec
    oid: int | None = None
    sized: bool = False


_MOMENT = Number(">i8", _EPOCH_MICROSECONDS, _MICROSECONDS)

_ROWS: Final = (
    ColumnType("text", sa.Text, pa.string(), Bytes(), 25),
    ColumnType("varchar", sa.String, pa.string(), Bytes(), 1043, sized=True),
    ColumnType("bytea", sa.LargeBinary, pa.binary(), Bytes(), 17),
    # The first byte is the version of jsonb's wire form.
    ColumnType("jsonb", lambda: pg.JSONB(none_as_null=True), pa.string(), Bytes(b"\x01"), 3802),
    ColumnType("smallint", sa.SmallInteger, pa.int16(), Number(">i2"), 21),
    ColumnType("integer", sa.Integer, pa.int32(), Number(">i4"), 23),
    ColumnType("bigint", sa.BigInteger, pa.int64(), Number(">i8"), 20),
    ColumnType("real", sa.REAL, pa.float32(), Number(">f4"), 700),
    ColumnType("double precision", sa.Double, pa.float64(), Number(">f8"), 701),
    ColumnType("boolean", sa.Boolean, pa.bool_(), Number("u1"), 16),
    ColumnType("uuid", sa.Uuid, pa.uuid(), FixedBytes(16), 2950),
    ColumnType("date", sa.Date, pa.date32(), Number(">i4", _EPOCH_DAYS, _DAYS), 1082),
    ColumnType("timestamp without time zone", sa.DateTime, pa.timestamp("us"), _MOMENT, 1114),
    ColumnType(
        "timestamp with time zone",
        partial(sa.DateTime, timezone=True),
        pa.timestamp("us", "UTC"),
        _MOMENT,
        1184,
    ),
    ColumnType("vector", VECTOR, pa.list_(pa.float32()), Vector(">f4"), sized=True),
    ColumnType("halfvec", HALFVEC, pa.list_(pa.float16()), Vector(">f2"), sized=True),
    ColumnType("sparsevec", SPARSEVEC, SPARSE_VECTOR, SparseVector(), sized=True),
)
#: Name -> type, without arrays and lengths.
TYPES: Final = {row.name: row for row in _ROWS}

_SPELLING = re.compile(r"(?P<name>[a-z ]+?)(?:\((?P<length>[1-9]\d*)\))?(?P<array>\[\])?")


@cache
def column_type(spelling: str) -> ColumnType:
    """Return a type by its name, which may have a length or be an array: ``varchar(50)[]``.

    Raises:
        UsageError: M535 there is no such type.
    """
    match = _SPELLING.fullmatch(spelling)
    row = TYPES.get(match["name"]) if match else None
    if match is None or row is None or (match["length"] and not row.sized):
        raise _unknown(spelling)
    if match["length"]:
        name = f"{row.name}({match['length']})"
        row = replace(row, name=name, sqlalchemy=partial(row.sqlalchemy, int(match["length"])))
    if not match["array"]:
        return row
    if row.oid is None:
        raise _unknown(spelling)
    return _array_of(row, row.oid)


def _array_of(row: ColumnType, oid: int) -> ColumnType:
    return ColumnType(
        f"{row.name}[]",
        lambda: pg.ARRAY(row.sqlalchemy()),
        pa.list_(row.arrow),
        Array(row.codec, row.arrow, oid),
    )


def _unknown(spelling: str) -> UsageError:
    return UsageError(
        "M535",
        "there is no such type of column",
        where=spelling,
        fix=f"use one of {', '.join(TYPES)}, or add a row to memos_assets/catalog/types.py",
    )
