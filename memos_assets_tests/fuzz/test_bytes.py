"""Damaged files: each is loaded and proven, left alone, or one error; nothing is lost silently."""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from memos_assets.consolidate.sources.pins import Pin
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.fuzz import outcomes

PAGE = 1_024
NAMED = {"memory_type": "entity", "content": "c" * 700}
#: Few rows of each table, their vectors short: what is damaged is then seldom an element.
ROWS: Mapping[str, Mapping[str, list[dict[str, Any]]]] = {
    "mixed_precision_embeddings": {
        "embeddings": [b.embedding(n, 16) for n in range(1, 12)],
        "anchors": [b.anchor("a", embedding=b.float16(7, 8), dimension=8)],
    },
    "hybrid": {"documents": [b.document(n, dense_embedding=b"") for n in range(1, 12)]},
    "corpus": {
        "entities": [b.entity(n, embedding=None) for n in range(1, 9)],
        "relations": [b.relation(n, n, n + 1) for n in range(1, 8)],
    },
    "semantic_memory": {
        "memories": [b.memory(n, embedding=json.dumps([1.5]), **NAMED) for n in range(1, 12)],
        "connections": [b.connection(n, n, n + 1) for n in range(1, 11)],
    },
}


@cache
def sound_file(kind: str) -> tuple[bytes, bytes]:
    """Return a small valid file of a kind, and the journal of a transaction that was cut short."""
    with tempfile.TemporaryDirectory() as folder:
        layout = ("pragma page_size = 1024", *b.LAYOUTS[kind][0])
        path = b.write_file(Path(folder) / "a.db", layout, **ROWS[kind])
        content = path.read_bytes()
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma cache_size = 1")
            connection.execute("begin")
            table = next(iter(ROWS[kind]))
            connection.execute(f'delete from "{table}"')
            connection.execute("create table filler (a)")
            connection.execute("insert into filler values (zeroblob(20000))")
            return content, path.with_name("a.db-journal").read_bytes()


Damage = Callable[[bytearray], bytearray]


def places(size: int) -> st.SearchStrategy[int]:
    """Draw a place, half of them where a page describes itself or the file does."""
    pages = st.integers(0, max(size // PAGE - 1, 0))
    return st.integers(0, size - 1) | st.builds(
        lambda page, offset: min(page * PAGE + offset, size - 1), pages, st.integers(0, 40)
    )


@st.composite
def damages(draw: st.DrawFn, size: int) -> list[tuple[str, int, int, int]]:
    one = st.tuples(
        st.sampled_from(
            ["flip", "flip", "flip", "set", "set", "truncate", "copy", "swap", "zero", "insert"]
        ),
        places(size),
        places(size),
        st.integers(0, 255),
    )
    return draw(st.lists(one, min_size=1, max_size=4))


def damaged(sound: bytes, changes: list[tuple[str, int, int, int]]) -> bytes:
    content = bytearray(sound)
    for what, one, other, value in changes:
        if one >= len(content):
            continue
        here, there = one // PAGE * PAGE, other // PAGE * PAGE
        if what == "flip":
            content[one] ^= 1 << value % 8
        elif what == "set":
            content[one] = value
        elif what == "truncate":
            del content[one if value % 2 else here :]
        elif what == "copy":
            content[there : there + PAGE] = content[here : here + PAGE]
        elif what == "swap":
            page = content[here : here + PAGE]
            content[here : here + PAGE] = content[there : there + PAGE]
            content[there : there + PAGE] = page
        elif what == "zero":
            content[one : one + value] = bytes(min(value, len(content) - one))
        else:
            content[one:one] = bytes([value]) * (PAGE if value % 2 else 1)
    return bytes(content)


def check(engine: sa.Engine, path: Path) -> None:
    """Every outcome is one that is allowed, and the file does not change."""
    beside = {file: file.read_bytes() for file in path.parent.iterdir()}
    outcomes.forget_everything(engine)
    with outcomes.in_time():
        outcome = outcomes.consolidated(engine, path)
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == beside
    if isinstance(outcome, Pin):
        replayed = path.parent.with_name("replayed")
        shutil.copytree(path.parent, replayed)
        copy = replayed / path.name
        assert outcomes.lost_rows(engine, copy, outcome.kind) == {}
        if unproven := outcomes.unproven(engine, outcome):
            # An index that disagrees with its table decides in SQLite whether a link dangles.
            assert not outcomes.is_sound(copy), unproven
        outcomes.check_reasons(engine)
    elif outcome is None:
        # Damage may hide what a file is; it must not hide it from the people who look.
        assert b.only(path).why


@pytest.mark.parametrize("kind", ROWS)
def test_a_damaged_file_is_loaded_whole_or_refused(kind: str, shared_engine: sa.Engine) -> None:
    sound, _ = sound_file(kind)

    @given(changes=damages(len(sound)))
    def search(changes: list[tuple[str, int, int, int]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder).resolve() / "data" / b.LAYOUTS[kind][1]
            path.parent.mkdir()
            path.write_bytes(damaged(sound, changes))
            check(shared_engine, path)

    search()


@pytest.mark.parametrize("suffix", ["-journal", "-wal"])
def test_a_damaged_log_is_replayed_or_refused(suffix: str, shared_engine: sa.Engine) -> None:
    sound, journal = sound_file("semantic_memory")
    log = journal if suffix == "-journal" else write_ahead_log(sound)

    @given(changes=damages(len(log)), twice=st.booleans())
    def search(changes: list[tuple[str, int, int, int]], twice: bool) -> None:  # noqa: FBT001
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder).resolve() / "data" / "semantic_memory.db"
            path.parent.mkdir()
            path.write_bytes(damaged(sound, changes) if twice else sound)
            path.with_name(path.name + suffix).write_bytes(damaged(log, changes))
            check(shared_engine, path)

    search()


@cache
def write_ahead_log(sound: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        path.write_bytes(sound)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("pragma journal_mode = wal")
            connection.execute("update memories set content = 'changed'")
            return path.with_name("a.db-wal").read_bytes()
