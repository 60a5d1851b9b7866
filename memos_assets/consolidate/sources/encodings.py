"""Compare the bytes of an embedding column with the encoding that the catalog or the user declares.

One odd row is loaded without its embedding, with a reason. A column in which most rows contradict
its encoding was written by another program; its file is refused, because its rows would be loaded
without embeddings. Bytes do not name their type, so the encoding is declared, not guessed.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from memos_assets.catalog import Encodings, FileKind, TableSpec
from memos_assets.catalog.columns import EXACT_ENCODINGS, MODEL_DIMENSIONS, VectorColumn
from memos_assets.errors import CodecError, UsageError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.file import quoted, unindexed

#: Fewer odd rows than this say nothing about a column.
LEAST_ODD_ROWS = 5

_SIZES = {"float16": 2, "float32": 4, "float64": 8}


def as_declared(spec: TableSpec, source: str, declared: Encodings) -> TableSpec:
    """Return the description of a table with the encodings that are declared for a source.

    Args:
        spec: the table.
        source: name of the file.
        declared: of its kind, see `FileKind.encodings`.

    Raises:
        UsageError: M528 when the column cannot store a declared encoding.
    """
    if not declared:
        return spec
    vectors = []
    for vector in spec.vectors:
        place = (source, spec.origin, vector.origin)
        name = declared.get(place)
        if name is None:
            vectors.append(vector)
            continue
        if name not in EXACT_ENCODINGS[vector.stored]:
            raise UsageError(
                "M528",
                f"{name!r} is not an encoding that a {vector.stored} column stores exactly",
                where=f"MEMOS_ENCODINGS {'.'.join(place)}",
                fix=f"declare one of {', '.join(EXACT_ENCODINGS[vector.stored])}, "
                "or change the column in memos_assets/catalog",
            )
        vectors.append(replace(vector, encoding=name))
    return replace(spec, vectors=tuple(vectors))


def declaration(spec: TableSpec, source: str, declared: Encodings) -> str:
    """Return the declarations for a source and a table, as they enter the digest of chunks."""
    return " ".join(
        f"{column}={encoding}"
        for (name, table, column), encoding in sorted(declared.items())
        if (name, table) == (source, spec.origin)
    )


#: Up to 257 rowids, as far apart as the table allows; each is found by one descent of its tree.
_SPREAD = """
    with recursive
        span(lowest, highest) as (
            select (select min({rowid}) from {table}), (select max({rowid}) from {table})
        ),
        mark(n) as (select 0 union all select n + 1 from mark where n < 256)
    select (
        select min({rowid}) from {table}
        where {rowid} >= lowest + n * max(1, (highest - lowest) / 256)
    ) from span, mark
"""


@dataclass(frozen=True, slots=True)
class _Shape:
    """Rows of a column whose values look alike; ``stated`` is the dimension beside them."""

    storage: str
    length: int
    stated: int | None
    is_json: bool
    rows: int


def misfit(
    connection: sqlite3.Connection, path: Path, kind: FileKind, source: str
) -> CodecError | None:
    """Return M201 when most rows of an embedding column contradict its encoding.

    Raises:
        UsageError: M528, as `as_declared`, or when a declared column is not an embedding column.
    """
    known = {(spec.origin, vector.origin) for spec in kind.tables for vector in spec.vectors}
    for name, *place in kind.encodings:
        if name == source and tuple(place) not in known:
            raise UsageError(
                "M528",
                f"{kind.name} has no such embedding column",
                where=f"MEMOS_ENCODINGS {'.'.join([name, *place])}",
                fix=f"name one of {', '.join('.'.join(column) for column in sorted(known))}",
            )
    layout = sqlite_file.layout(connection)
    for spec in kind.tables:
        if not spec.required_origins <= layout.get(spec.origin, frozenset()):
            continue
        for vector in as_declared(spec, source, kind.encodings).vectors:
            sample = list(_shapes(connection, spec, vector, sampled=True))
            if _rows(_odd(vector, sample)) * 4 <= _rows(sample):
                continue
            shapes = list(_shapes(connection, spec, vector, sampled=False))
            odd, rows = _odd(vector, shapes), _rows(shapes)
            if _rows(odd) >= LEAST_ODD_ROWS and _rows(odd) * 2 > rows:
                return _refusal(path, source, spec, vector, odd, rows)
    return None


def _odd(vector: VectorColumn, shapes: Iterable[_Shape]) -> list[_Shape]:
    return [shape for shape in shapes if not _fits(vector, shape)]


def _rows(shapes: Iterable[_Shape]) -> int:
    return sum(shape.rows for shape in shapes)


def _shapes(
    connection: sqlite3.Connection, spec: TableSpec, vector: VectorColumn, *, sampled: bool
) -> Iterator[_Shape]:
    """Yield the shapes of a column's values, of all rows or of some from all over the table.

    NULL and 0 bytes say nothing of encodings, nor does a row that should state a dimension and
    does not.
    """
    columns = sqlite_file.layout(connection)[spec.origin]
    column, table = quoted(vector.origin), unindexed(spec.origin)
    rowid = sqlite_file.rowid_name(columns, spec.origin)
    stated = "null"
    if vector.dimension_origin:
        # A table that went through a data frame states its dimensions as REAL.
        name = quoted(vector.dimension_origin)
        stated = (
            f"case when typeof({name}) in ('integer', 'real') and {name} = cast({name} as integer) "
            f"then cast({name} as integer) end"
        )
    among = "true"
    if sampled:
        among = f"{rowid} in ({_SPREAD.format(rowid=rowid, table=table)})"
    # A list begins and ends with brackets.
    is_json = f"hex(substr({column}, 1, 1)) || hex(substr({column}, -1, 1)) = '5B5D'"
    for storage, length, dimension, is_list, rows in connection.execute(
        f"select typeof({column}), length({column}), {stated}, {is_json}, count(*) "
        f"from {table} where {among} and length({column}) > 0 group by 1, 2, 3, 4"
    ).fetchall():
        if vector.rule == "column" and not (isinstance(dimension, int) and dimension > 0):
            continue
        yield _Shape(storage, length, dimension, bool(is_list), rows)


def _fits(vector: VectorColumn, shape: _Shape) -> bool:
    readings = _readings(vector, shape)
    if vector.element_bytes is None:
        # JSON has any length, and hardly ever that of a binary vector.
        return shape.storage == "text" or shape.is_json or not readings
    return shape.storage == "blob" and vector.encoding in readings


def _readings(vector: VectorColumn, shape: _Shape) -> dict[str, int]:
    """Return the element types that a BLOB of this length can be of, and how many elements."""
    return {
        name: shape.length // size
        for name, size in _SIZES.items()
        if shape.length % size == 0
        and (
            shape.length // size == shape.stated
            if vector.rule == "column"
            else shape.length // size in MODEL_DIMENSIONS
        )
    }


def _seen(vector: VectorColumn, shape: _Shape) -> tuple[str, ...]:
    """Return the types that values of this shape may have, in words; none when none is known."""
    if shape.storage not in ("blob", "text"):
        return (shape.storage.upper(),)
    if shape.is_json:
        return ("JSON text",)
    if shape.storage == "text":
        return ("text",)
    stated = vector.rule == "column"
    return tuple(
        name if stated else f"{name} of {count:,}"
        for name, count in _readings(vector, shape).items()
    )


def _refusal(
    path: Path, source: str, spec: TableSpec, vector: VectorColumn, odd: Sequence[_Shape], rows: int
) -> CodecError:
    seen: Counter[tuple[str, ...]] = Counter()
    commonest: dict[tuple[str, ...], _Shape] = {}
    for shape in sorted(odd, key=lambda shape: -shape.rows):
        reading = _seen(vector, shape)
        seen[reading] += shape.rows
        commonest.setdefault(reading, shape)
    reading, count = seen.most_common(1)[0]
    shape = commonest[reading]
    stated = f" for dimension {shape.stated:,}" if shape.stated else ""
    unit = "bytes" if shape.storage == "blob" else "characters"
    also = " and other lengths" if shape.rows < count else ""
    what = (
        f"`{spec.origin}.{vector.origin}` holds {' or '.join(reading) or 'an unknown encoding'} in "
        f"{count:,} of {rows:,} rows ({shape.length:,} {unit}{stated}{also}); "
        f"expected {_expected(vector, shape)}"
    )
    return CodecError("M201", what, where=str(path), fix=_fix(source, spec, vector, reading))


def _expected(vector: VectorColumn, shape: _Shape) -> str:
    size = vector.element_bytes
    if size is None:
        return "a JSON array of numbers"
    if shape.stated:
        return f"{vector.encoding}, {size * shape.stated:,} bytes"
    *others, last = (f"{dimension:,}" for dimension in MODEL_DIMENSIONS)
    known = f"{vector.encoding} of {', '.join(others)} or {last} elements"
    elements, rest = divmod(shape.length, size)
    return known if rest or shape.storage != "blob" else f"{known}, this would be {elements:,}"


def _fix(source: str, spec: TableSpec, vector: VectorColumn, reading: Sequence[str]) -> str:
    names = {name.partition(" of ")[0].replace("JSON text", "json_text") for name in reading}
    place = f"{source}.{spec.origin}.{vector.origin}"
    entry = f"{spec.name}.{vector.name} in memos_assets/catalog"
    if declarable := [encoding for encoding in EXACT_ENCODINGS[vector.stored] if encoding in names]:
        ways = " or ".join(f"MEMOS_ENCODINGS={place}={encoding}" for encoding in declarable)
        fix = f"if it is, declare it: {ways}"
    elif names & {*_SIZES, "json_text"}:
        fix = f"{vector.stored} cannot hold it exactly: describe it and its column type as {entry}"
    else:
        fix = f"describe the encoding or the dimension as {entry}"
    return f"{fix}; or take the file out of the folder"
