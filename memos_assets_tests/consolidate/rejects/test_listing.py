"""The list of rejects, and the rows of it as they were."""

import base64
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.columns import MODEL_DIMENSIONS
from memos_assets.consolidate.rejects import listing as rejects
from memos_assets.consolidate.rejects.listing import Selection
from memos_assets.sqlite.printable import looks_like, shown_value
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.consolidate.deciding import MIXED, REPLACE, decide, write

#: Rows that differ in what a careless copy would lose.
ODD = (
    {"content": "a\0b", "scale": b"\x12\x34", "zero_point": "text"},
    {"content": "80 \udcb0C", "scale": float("inf"), "dimension": 768.5},
    {"doc_id": None, "content": 7, "zero_point": 2**62, "metadata": ""},
    {"metadata": b"{}\xff", "created_at": 1766217600, "scale": 0.1},
)


def stored(path: Path, table: str) -> list[tuple[object, ...]]:
    """Return rowid, and class and bytes of every value, of the rows in the order of rowids."""
    with closing(sqlite3.connect(path)) as connection:
        columns = sorted(row[1] for row in connection.execute(f"pragma table_info('{table}')"))
        parts = ", ".join(f"typeof({name}), cast({name} as blob)" for name in columns)
        found = connection.execute(
            f'select rowid, {parts} from "{table}" where rowid > 1 order by rowid'
        ).fetchall()
    return [(columns, *row) for row in found]


def test_an_exported_database_holds_the_rows_exactly_as_the_source_does(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = write(tmp_path / "data", MIXED, *ODD)
    b.consolidate(engine, path)
    target = tmp_path / "rejects.db"
    with engine.connect() as conn:
        assert rejects.export(conn, Selection(MEMOS), target) == 4
    assert stored(target, "embeddings") == stored(path, "embeddings")
    assert len(stored(target, "embeddings")) == 4
    with closing(sqlite3.connect(target)) as connection:
        why = connection.execute(
            "select source, table_name, row_id, reason, key from memos_rejects order by row_id"
        ).fetchall()
    assert why == [
        (MIXED, "embeddings", 2, "nul_character", '["doc-2"]'),
        (MIXED, "embeddings", 3, "invalid_utf8", '["doc-3"]'),
        (MIXED, "embeddings", 4, "null_key", "[null]"),
        (MIXED, "embeddings", 5, "wrong_type", '["doc-5"]'),
    ]


def test_equal_tables_of_two_sources_are_kept_apart(engine: sa.Engine, tmp_path: Path) -> None:
    for name in ("one", "two"):
        path = write(tmp_path / name, MIXED, {"content": f"{name}\0"})
        b.consolidate(engine, path.rename(path.with_name(f"{name}.db")))
    target = tmp_path / "rejects.db"
    with engine.connect() as conn:
        assert rejects.export(conn, Selection(MEMOS), target) == 2
        with closing(sqlite3.connect(target)) as connection:
            found = connection.execute(
                "select cast(a.content as blob), cast(b.content as blob) "
                'from embeddings a, "two.embeddings" b'
            ).fetchall()
        assert rejects.export(conn, Selection(MEMOS, source="two"), tmp_path / "two.db") == 1
    assert found == [(b"one\0", b"two\0")]


def test_exported_lines_say_what_json_cannot_hold(engine: sa.Engine, tmp_path: Path) -> None:
    b.consolidate(engine, write(tmp_path / "data", MIXED, *ODD))
    target = tmp_path / "rejects.jsonl"
    with engine.connect() as conn:
        rejects.export(conn, Selection(MEMOS, table="embeddings"), target)
    lines = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [line["rowid"] for line in lines] == [2, 3, 4, 5]
    values = [line["values"] for line in lines]
    assert values[0]["content"] == "a\0b"
    assert values[0]["scale"] == {"blob_base64": base64.b64encode(b"\x12\x34").decode()}
    assert values[1]["content"] == {"text_base64": base64.b64encode(b"80 \xb0C").decode()}
    assert values[1]["scale"] == {"real": "inf"}
    assert values[2]["zero_point"] == 2**62
    assert values[3]["scale"] == 0.1


def test_only_what_is_selected_is_counted_and_exported(engine: sa.Engine, tmp_path: Path) -> None:
    path = write(tmp_path / "data", MIXED, {"content": "a\0"}, {"content": "b\0"}, {"doc_id": None})
    b.consolidate(engine, path)
    decide(engine, "embeddings", nul_character=REPLACE)
    with engine.connect() as conn:
        (group,) = rejects.groups(conn, Selection(MEMOS, reason="nul_character", only_open=True))
    assert (group.open, group.decided) == (2, REPLACE)
    b.consolidate(engine, path)
    with engine.connect() as conn:
        everything = rejects.groups(conn, Selection(MEMOS))
        opened_ones = rejects.groups(conn, Selection(MEMOS, only_open=True))
        count = rejects.export(conn, Selection(MEMOS, only_open=True), tmp_path / "open.db")
    assert [(g.reason, g.open, g.dropped, g.repaired, g.decided) for g in everything] == [
        ("nul_character", 0, 0, 2, REPLACE),
        ("null_key", 1, 0, 0, None),
    ]
    assert [(g.reason, g.open, g.rules) for g in opened_ones] == [("null_key", 1, ("drop",))]
    assert count == 1


@pytest.mark.parametrize(
    ("blob", "look"),
    [
        (b"", "nothing"),
        (bytes(8), "zeros"),
        (b"[0.5, 1]", "JSON text"),
        (b.float32(1), "float32 of 768"),
        (b.float16(1), "float16 of 768"),
        (b.float32(1, 2560), "float32 of 2,560"),
        (np.full(1024, np.nan, "<f2").tobytes(), "float16 of 1,024 with 1,024 NaN"),
        (
            np.array([np.nan, np.inf] * 384, "<f4").tobytes(),
            "float32 of 768 with 384 NaN and 384 infinite",
        ),
        (b"words", "text"),
        (b"\xff\xfe", "bytes"),
    ],
)
def test_bytes_are_described_by_what_they_may_be(blob: bytes, look: str) -> None:
    assert looks_like(blob, MODEL_DIMENSIONS) == look


def test_a_shown_value_is_one_line_of_printable_characters() -> None:
    assert shown_value("a\0\n\x1b[31m\udcb0\u202eé") == r"a\x00\n\x1b[31m\xb0\u202eé"
    assert shown_value("x" * 1_000) == "x" * 160 + " ... (1,000 characters)"
    assert shown_value(None) == ""
