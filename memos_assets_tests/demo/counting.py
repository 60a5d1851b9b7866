"""What is counted in one column of a table, whatever the table."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path

import numpy as np

Row = Mapping[str, object]
Rows = list[dict[str, object]]
Count = Callable[[Rows], Mapping[str, int]]


def load(path: Path, table: str) -> Rows:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as conn:
        conn.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        cursor = conn.execute(f"select rowid as rowid_, * from {table}")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


def text(value: object) -> str:
    assert isinstance(value, str)
    return value


def blob(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value


def is_json(value: str) -> bool:
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return False
    return True


def json_kinds(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        values = [text(row[column]) for row in rows]
        return {
            "json_nan": sum(bool(re.search(r": NaN\b", value)) for value in values),
            "json_infinity": sum(bool(re.search(r": Infinity\b", value)) for value in values),
            "json_null_character": sum("\\u0000" in value for value in values if is_json(value)),
            "malformed_json": sum(not is_json(value) for value in values),
        }

    return count


def text_kinds(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        values = [value for row in rows if isinstance(value := row[column], str)]
        return {
            "null_characters": sum("\0" in value for value in values),
            "invalid_utf8": sum(bool(re.search("[\udc80-\udcff]", value)) for value in values),
        }

    return count


def instants(column: str, convention: str, pattern: str) -> Count:
    """Count texts of one convention; whatever else is there must be unreadable to Python too."""

    def count(rows: Rows) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        for row in rows:
            value = text(row[column])
            try:
                datetime.fromisoformat(value)
            except ValueError:
                found["unreadable_timestamps"] += 1
            else:
                assert re.fullmatch(pattern, value), value
                found[convention] += 1
                if convention == "timestamps_iso_offset" and "." not in value:
                    found["timestamps_without_fraction"] += 1
        return found

    return count


def sqlite_utc(column: str) -> Count:
    return instants(column, "timestamps_sqlite_utc", r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def iso_offset(column: str) -> Count:
    return instants(
        column, "timestamps_iso_offset", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?\+00:00"
    )


def iso_local(column: str) -> Count:
    return instants(column, "timestamps_iso_local", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def unix(column: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        readable = sum(isinstance(row[column], float) for row in rows)
        return {"timestamps_unix": readable, "unreadable_timestamps": len(rows) - readable}

    return count


def missing(name: str, column: str) -> Count:
    return lambda rows: {name: sum(row[column] is None for row in rows)}


def where(name: str, predicate: Callable[[Row], bool]) -> Count:
    return lambda rows: {name: sum(predicate(row) for row in rows)}


def vectors(column: str, dtype: str, dims: Iterable[int]) -> Count:
    """Count what is wrong with the binary vectors of a column; NULL is not counted here."""
    width = np.dtype(dtype).itemsize
    known = {dim * width for dim in dims}

    def count(rows: Rows) -> Mapping[str, int]:
        found: Counter[str] = Counter()
        lengths = known
        for row in rows:
            if row[column] is None:
                continue
            stored = blob(row[column])
            if not stored:
                found["empty_vectors"] += 1
                continue
            if "dimension" in row:
                lengths = {width * int(str(row["dimension"]))}
            if len(stored) not in lengths:
                whole, rest = divmod(len(stored), width)
                name = "torn_vectors" if rest else "truncated_vectors"
                found["foreign_dimensions" if (whole, rest) == (384, 0) else name] += 1
                continue
            values = np.frombuffer(stored, dtype=dtype)
            found["zero_vectors"] += not values.any()
            found["nan_vectors"] += bool(np.isnan(values).any())
            found["infinite_vectors"] += bool(np.isinf(values).any())
        return found

    return count


def dimensions(column: str, dims: Iterable[int]) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        stored = [value for row in rows if isinstance(value := row[column], bytes)]
        sizes = Counter(len(value) for value in stored if any(value))
        return {f"vectors_of_{dim}": sizes[4 * dim] for dim in dims}

    return count


def every(name: str) -> Count:
    return lambda rows: {name: len(rows)}


def sqlite_utc_or_postgresql(column: str) -> Count:
    """Count UTC texts with microseconds apart from those without."""

    def count(rows: Rows) -> Mapping[str, int]:
        exported = [row for row in rows if re.search(r":\d\d\.\d{6}$", text(row[column]))]
        others = [row for row in rows if row not in exported]
        return {"timestamps_postgresql_utc": len(exported), **sqlite_utc(column)(others)}

    return count


def repeats(name: str, *columns: str) -> Count:
    def count(rows: Rows) -> Mapping[str, int]:
        keys = Counter(tuple(row[column] for column in columns) for row in rows)
        return {name: sum(keys.values()) - len(keys)}

    return count
