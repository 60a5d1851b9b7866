"""Unexpected rows in memOS's layouts: each is loaded and proven, or rejected with a reason."""

import json
import re
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from memos_assets.catalog import (
    MEMOS,
    Column,
    TableSpec,
)
from memos_assets.catalog.columns import ColumnKind, VectorColumn
from memos_assets.errors import CodecError, MemosAssetsError
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.fuzz import outcomes


@dataclass(frozen=True)
class Text:
    """A TEXT of any bytes, which Python's str cannot always be."""

    raw: bytes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def repeated_keys(draw: st.DrawFn) -> str:
    """Draw a JSON object that repeats keys at any depth, some of them by an escape."""
    spellings = st.sampled_from(['"a"', r'"\u0061"', '"b"', '"\u00e9"', r'"\u00e9"', '"A"'])
    inner = st.sampled_from(["1", "1.0", "null", '"x"']) | st.deferred(lambda: pairs)
    pairs = st.lists(st.tuples(spellings, inner), max_size=4).map(
        lambda items: "{" + ", ".join(f"{key}: {value}" for key, value in items) + "}"
    )
    return draw(pairs | pairs.map(lambda text: f"[0, {text}]"))


#: JSON that some reader takes for another value than the next one, or that jsonb refuses.
ODD_JSON = st.sampled_from(
    [
        "",
        " ",
        "NaN",
        "[-Infinity]",
        "1e400",
        "[1e99999]",
        "[-1e-99999]",
        "-0",
        "-0.0",
        "1E2",
        "0.10",
        "100000000000000000000000000000.5",
        "9" * 5_000,
        r'"\u0000"',
        r'"\ud800"',
        r'"\ud83d\ude00"',
        r'{"\udc00": 1}',
        '{"a": 1, "a": 2}',
        '[{"a" :1.0, "b": {"a": ":"}, "a": 1}]',
        '{"\\u0061": 1, "a": "\\u0000"}',
        '{"\\ud800": 1, "\\ud801": 2, "a": NaN, "a": 1e99999}',
        '{"a": 12345678901234567.8, "b": 1.50e1, "c": -0e3}',
        "[0e5, 0.10e-3, -1E+2, 1e00000000000000000005]",
        '{"b": 1, "aa": 2, "\u00e9": 3, "a": 4}',
        "[" * 390 + "]" * 390,
        "[" * 500 + "]" * 500,
        "\ufeff{}",
        "{'a': 1}",
        "[1,]",
        '"\u2028"',
        "true",
        "[true, 1, 1.0]",
        "[0.30000000000000004, 0.3, 123456789012345678]",
        "nul",
    ]
)
MOMENTS = st.sampled_from(
    [
        "2025-12-20 08:00:00",
        "2025-12-20T08:00:00",
        "2025-12-20T08:00:00Z",
        "2025-12-20T08:00:00+00:00",
        "2025-12-20T08:00:00.123456-05:30",
        "2025-12-20",
        "0001-01-01 00:00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59.999999-14:00",
        "2025-12-20T08:00:00.1234567+00:00",
        "2025-12-20T08:00:00.1234560000",
        "2025-12-20x08:00:00",
        "2025-12-20T08:00:60Z",
        "2025-12-20T08:00:00+05:30:15",
        "2025-02-30 00:00:00",
        "2025-12-20 24:00:00",
        "2025-12-20x08:00:00+00:00",
        "2025-12-20T08:00:00.1234565+00:00",
        "9999-12-31 23:59:59.9999999",
        "2025-12-20 08:00:00.123456000",
        "2025-12-20T08:00:00,5Z",
        "2025-12-20 08:00:60",
        "2025-12-20T08:00-0530",
        "2025-12-20T08:00:00+05:30:15",
        "20251220T080000",
        "2025-W51-6",
        "\uff12\uff10\uff12\uff15-12-20 08:00:00",
        "now",
        1766217600,
        1766217600.123456,
        -62135596800.0,
        253402300800.0,
        5e-324,
    ]
)
NUMBERS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.sampled_from([0, 1, -1, 2, 2**31, 2**53 + 1, 768, 768.0, 1.0, 2.0**53, 16_001])
    | st.floats()
)
TEXTS = (
    st.text(max_size=12)
    | st.sampled_from(["", "\0", "a\0b", "\ufffd", "x" * 3_000, "\U0010ffff", "0", "1e3"])
    | st.binary(max_size=12).map(Text)
    | st.just(Text("\ud800".encode("utf-8", "surrogatepass")))
)
#: Few, so that they repeat and links find them.
KEYS = st.sampled_from(["k0", "k1", "k2", "k3", "K1", "k1 "])
DIMENSIONS = st.sampled_from([0, 1, 3, 768, 1_024, 2_560])
ELEMENTS = st.sampled_from(
    [0.0, 1.0, -1.5, 65_504.0, 1e-7, 1e19, 2e19, 3.4e38, 1e-45, float("nan"), float("inf")]
)


def packed(element: float, dimension: int, letter: str) -> bytes:
    """Return a vector of ones that ends with another number."""
    try:
        last = struct.pack(f"<{letter}", element)
    except OverflowError:
        last = struct.pack(f"<{letter}", float("inf"))
    return struct.pack(f"<{letter}", 1.0) * max(dimension - 1, 0) + last * min(dimension, 1)


def listed(element: float, dimension: int) -> str:
    return json.dumps([1.0] * max(dimension - 1, 0) + [element] * min(dimension, 1))


VECTORS = st.builds(packed, ELEMENTS, DIMENSIONS, st.sampled_from("ef")) | st.sampled_from(
    [
        *(bytes(768), bytes(2 * 768), bytes(4 * 768), bytes(7)),
        *(struct.pack("<f", element) * 768 for element in (1e-25, 3e-17, 4e-17, 4e17, 5e17)),
    ]
)
LISTS = st.builds(listed, ELEMENTS | st.just(1e300), DIMENSIONS)
ANYTHING: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    NUMBERS,
    TEXTS,
    MOMENTS,
    ODD_JSON,
    JSON.map(json.dumps),
    st.binary(max_size=9),
    VECTORS,
    LISTS,
    LISTS.map(str.encode),
    KEYS,
)

USUAL: Mapping[ColumnKind, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
    "integer": st.integers(0, 1_000),
    "real": st.floats(0, 1),
    "real_or_float32": st.floats(0, 1, width=32).map(lambda n: struct.pack("<f", n)),
    "boolean": st.sampled_from([0, 1]),
    "json": st.dictionaries(st.sampled_from("abc"), st.integers()).map(json.dumps),
    "utc_text": st.just("2025-12-20 08:00:00"),
    "iso_offset": st.just("2025-12-20T08:00:00.000001+00:00"),
    "unix_seconds": st.floats(0, 2e9),
}


def vectors_of(vector: VectorColumn) -> st.SearchStrategy[Any]:
    if vector.encoding == "float16":
        return st.builds(packed, ELEMENTS, DIMENSIONS, st.just("e"))
    if vector.encoding == "float32":
        return st.builds(packed, ELEMENTS, DIMENSIONS, st.just("f"))
    return LISTS if vector.encoding == "json_text" else LISTS.map(str.encode)


#: What is odd in a column of a kind, beside what is odd in any.
ODD: Mapping[ColumnKind, st.SearchStrategy[Any]] = {
    "text": TEXTS,
    "json": ODD_JSON | repeated_keys() | JSON.map(json.dumps) | TEXTS,
    "utc_text": MOMENTS,
    "iso_offset": MOMENTS,
    "unix_seconds": MOMENTS | NUMBERS,
    "real": NUMBERS,
    "real_or_float32": NUMBERS | st.binary(min_size=4, max_size=4),
    "integer": NUMBERS,
    "boolean": NUMBERS,
}


def values_of(spec: TableSpec, name: str) -> tuple[st.SearchStrategy[Any], st.SearchStrategy[Any]]:
    """Return the values that memOS writes to a SQLite column, and others that it may have."""
    column: Column | None = next((c for c in spec.columns if c.origin == name), None)
    if column is not None:
        linked = {link.column for link in spec.links} | set(spec.key)
        usual = KEYS if column.name in linked else USUAL[column.kind]
        return usual, st.none() | ODD[column.kind]
    for vector in spec.vectors:
        if name == vector.origin:
            return vectors_of(vector), VECTORS | LISTS | LISTS.map(str.encode)
        if name == vector.dimension_origin:
            return DIMENSIONS, NUMBERS
    return st.none(), ANYTHING


@st.composite
def row_of(draw: st.DrawFn, spec: TableSpec, columns: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Draw a row as memOS writes it but for a few columns."""
    values = {name: values_of(spec, name) for name in columns}
    row = {name: draw(usual) for name, (usual, _) in values.items()}
    for name in draw(st.lists(st.sampled_from(columns), max_size=3)):
        row[name] = draw(values[name][1])
    for name in draw(st.sampled_from([[], [], [], columns])):
        if draw(st.integers(0, 5)) == 5:
            row[name] = draw(ANYTHING)
    return spec.origin, {"rowid": draw(ROWIDS), **row}


def columns_of(kind: str) -> dict[str, list[str]]:
    """Return table -> columns as memOS creates them, rowid aliases left to the rowid."""
    layout, _ = b.LAYOUTS[kind]
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in layout:
            connection.execute(statement)
        return {
            spec.origin: [
                row[1]
                for row in connection.execute(f'pragma table_info("{spec.origin}")')
                if not (row[5] and row[2].upper() == "INTEGER")
            ]
            for spec in MEMOS.kind(kind).tables
        }


ROWIDS = st.integers(1, 9) | st.sampled_from(
    [-(2**63), -1, 0, 1_023, 1_024, 2_047, 2_048, 10**6, 2**62, 2**63 - 1]
)
Rows = Sequence[tuple[str, Mapping[str, Any]]]


def rows_of(kind: str) -> st.SearchStrategy[Rows]:
    """Draw up to a dozen rows for the tables of a kind."""
    columns = columns_of(kind)
    specs = MEMOS.kind(kind).tables
    return st.lists(st.one_of(*(row_of(spec, columns[spec.origin]) for spec in specs)), max_size=12)


@dataclass(frozen=True)
class Manner:
    """How a file is written.

    Attributes:
        encoding: of its texts.
        journal: its journal mode.
        declared: the type that columns of integers are declared as; a data frame writes REAL.
    """

    encoding: str = "UTF-8"
    journal: str = "delete"
    declared: str = "INTEGER"

    def layout(self, kind: str) -> Sequence[str]:
        """Return the statements that create a file of a kind."""
        pattern = r"\bINTEGER\b(?!\s+PRIMARY)"
        statements = (re.sub(pattern, self.declared, text) for text in b.LAYOUTS[kind][0])
        return (f"pragma encoding = '{self.encoding}'", *statements)


MANNERS = st.builds(
    Manner,
    st.sampled_from(["UTF-8", "UTF-8", "UTF-16le", "UTF-16be"]),
    st.sampled_from(["delete", "truncate", "persist", "wal"]),
    st.sampled_from(["INTEGER", "INTEGER", "REAL", "TEXT", "BLOB"]),
)


@contextmanager
def written(path: Path, rows: Rows, manner: Manner) -> Iterator[None]:
    """Insert rows, and leave the writer connected; a row that the layout refuses is left out."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"pragma journal_mode = {manner.journal}")
        for table, row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            places = ("cast(? as text)" if isinstance(v, Text) else "?" for v in row.values())
            connection.execute(
                f'insert or ignore into "{table}" ({names}) values ({", ".join(places)})',
                [v.raw if isinstance(v, Text) else v for v in row.values()],
            )
        connection.commit()
        yield


@pytest.mark.parametrize("kind", b.LAYOUTS)
def test_any_row_is_loaded_and_proven_or_rejected_with_a_reason(
    kind: str, shared_engine: sa.Engine
) -> None:
    @given(first=rows_of(kind), then=st.none() | rows_of(kind), manner=MANNERS)
    def search(first: Rows, then: Rows | None, manner: Manner) -> None:
        outcomes.forget_everything(shared_engine)
        with tempfile.TemporaryDirectory() as folder, outcomes.in_time():
            path = Path(folder).resolve() / "data" / b.LAYOUTS[kind][1]
            b.write_file(path, manner.layout(kind))
            for rows in filter(None, (first, then)):
                with written(path, rows, manner):
                    outcome = outcomes.consolidated(shared_engine, path)
                if isinstance(outcome, MemosAssetsError):
                    # Most of a column in another encoding than the catalog says.
                    assert isinstance(outcome, CodecError), outcome
                    return
                assert outcome is not None
                assert outcomes.unproven(shared_engine, outcome) == {}
                assert outcomes.lost_rows(shared_engine, path, outcome.kind) == {}
                outcomes.check_reasons(shared_engine)

    search()
