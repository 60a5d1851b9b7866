"""A row enters a digest as its bytes are written, however long its values are."""

import hashlib

import pytest

from memos_assets.sqlite import row_codec
from memos_assets.sqlite.row_codec import Value, add_row, row_bytes, row_digest, row_values

ROWS: list[list[Value]] = [
    [],
    [None, 1, -(2**63), 1.5, "", b"", "text", b"\0\xff"],
    ["x" * 40, "y"],
    ["ü€😀" * 30, 7, "not of UTF-8: \udcff" * 3],
    [b"z" * 100, "a" * 16, "b" * 17],
]


@pytest.mark.parametrize("values", ROWS)
def test_a_long_text_is_written_in_slices_to_the_same_bytes(
    values: list[Value], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = row_bytes(values)
    assert row_values(expected) == values
    monkeypatch.setattr(row_codec, "_SLICE", 16)
    assert row_bytes(values) == expected
    digest = hashlib.sha256()
    assert add_row(digest, values) == len(expected)
    assert digest.digest() == row_digest(values) == hashlib.sha256(expected).digest()
