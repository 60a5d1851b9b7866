"""Decode a whole column of a batch at once where nothing in it is unusual.

`values` decides what a value means; this only saves asking it 10,000 times about values that follow
their convention to the letter. Whatever does not is left to it.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from memos_assets.catalog.columns import ColumnKind
from memos_assets.sqlite.row_codec import Value

_MOMENTS: dict[ColumnKind, tuple[re.Pattern[str], str]] = {
    "utc_text": (re.compile(r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n)+"), ""),
    "iso_offset": (
        re.compile(r"(?:\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{6})?\+00:00\n)+"),
        "+00:00",
    ),
}
#: NumPy knows a year 0, which neither Python nor PostgreSQL does.
_YEAR_1 = np.datetime64("0001-01-01", "us")


def decode_usual(kind: ColumnKind, stored: Sequence[Value]) -> list[Any] | None:
    """Return the decoded column, None where some value has to be looked at by itself.

    Args:
        kind: of the column.
        stored: its values, as SQLite returns them.
    """
    if set(map(type, stored)) != {str}:
        return None
    texts: Sequence[str] = stored  # type: ignore[assignment]
    if kind == "text":
        return list(texts) if _is_usual_text("".join(texts)) else None
    if kind in _MOMENTS:
        return _moments(kind, texts)
    return None


def _is_usual_text(joined: str) -> bool:
    if "\0" in joined:
        return False
    if joined.isascii():
        return True
    try:
        joined.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moments(kind: ColumnKind, texts: Sequence[str]) -> list[int] | None:
    pattern, suffix = _MOMENTS[kind]
    # [0-9] is not \d: other scripts have digits too.
    joined = "\n".join(texts) + "\n"
    if not joined.isascii() or not pattern.fullmatch(joined):
        return None
    try:
        moments = np.array([t.removesuffix(suffix) for t in texts], dtype="datetime64[us]")
    except ValueError:  # a 31st of February
        return None
    if moments.min() < _YEAR_1:
        return None
    decoded: list[int] = moments.astype(np.int64).tolist()
    return decoded
