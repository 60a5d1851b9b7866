"""Readers of the tables while another version goes live: they see one or the other, whole."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.versions.swap import roll_back, swap
from memos_assets.postgres.versions.versions import create_shadow
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.postgres.versions.test_versions import LONG_ENOUGH, memories, now, states


@pytest.fixture
def other(database_url: sa.URL, engine: sa.Engine) -> Iterator[psycopg.Connection]:
    assert engine
    with psycopg.connect(libpq_url(database_url), application_name="reader") as conn:
        yield conn


def test_a_reader_that_does_not_end_is_named_and_nothing_changes(
    engine: sa.Engine, other: psycopg.Connection
) -> None:
    create_shadow(engine, MEMOS, "one")
    other.execute("select count(*) from memos.corpora")
    with pytest.raises(TargetError, match=r"^M333 .*\(reader, idle in transaction\).* nothing was"):
        swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=0.3)
    assert states(engine) == [(1, "live", "memos"), (2, "shadow", MEMOS.shadow)]
    other.rollback()
    assert swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH).live == 2


def test_a_transaction_that_would_find_the_next_version_empty_is_waited_for(
    engine: sa.Engine, other: psycopg.Connection, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", 1)
    other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    other.execute("select 1 from memos_ops.sources")
    pin = b.consolidate(engine, path)
    create_shadow(engine, MEMOS, "one")
    b.load_stale(in_schema(engine, MEMOS.schema, MEMOS.shadow), pin)
    with pytest.raises(TargetError, match=r"^M333 .*began before the load: .*\(reader\)"):
        swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=0.3)
    other.rollback()
    swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH)


def test_readers_see_one_version_or_the_other_and_never_an_error(
    engine: sa.Engine, database_url: sa.URL, tmp_path: Path
) -> None:
    """Six exchanges under two kinds of readers; version 1 holds 1 + 0 rows, version 2 holds 2 + 1.

    psycopg prepares statements that it sees often, so plans of the former tables are met, too.
    """
    path = memories(tmp_path / "data", 1)
    b.consolidate(engine, path)
    b.change(path, "delete from memories")
    path.unlink()
    b.write_kind(
        tmp_path / "data",
        "semantic_memory",
        memories=[b.memory(1), b.memory(2)],
        connections=[b.connection(1, 1, 2, bidirectional=0)],
    )
    pin = b.observe(engine, path)
    create_shadow(engine, MEMOS, "one")
    b.load_stale(in_schema(engine, MEMOS.schema, MEMOS.shadow), pin)

    seen: list[tuple[object, ...]] = []
    errors: list[BaseException] = []
    stop = threading.Event()
    both = (
        "select (select count(*) from memos.semantic_memories), "
        "(select count(*) from memos.semantic_links)"
    )
    reversed_order = (
        "select m, l from (select count(*) as l from memos.semantic_links) a, "
        "(select count(*) as m from memos.semantic_memories) b"
    )

    def read(level: psycopg.IsolationLevel) -> None:
        try:
            with psycopg.connect(libpq_url(database_url)) as conn:
                conn.isolation_level = level
                while not stop.is_set():
                    with conn.transaction():
                        seen.extend(conn.execute(both).fetchall())
                        seen.extend(conn.execute(reversed_order).fetchall())
                    with conn.transaction():
                        links = conn.execute("select count(*) from memos.semantic_links").fetchone()
                        found = conn.execute(
                            "select count(*) from memos.semantic_memories"
                        ).fetchone()
                        assert links is not None
                        assert found is not None
                        seen.append((found[0], links[0]))
        except BaseException as error:  # noqa: BLE001  the test looks at it
            errors.append(error)

    levels = (psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ)
    readers = [threading.Thread(target=read, args=(level,)) for level in (*levels, *levels)]
    for reader in readers:
        reader.start()
    try:
        swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH)
        for _ in range(5):
            roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert errors == []
    assert set(seen) == {(1, 0), (2, 1)}


def test_readers_whose_transactions_overlap_do_not_starve_a_swap(
    engine: sa.Engine, database_url: sa.URL
) -> None:
    """Fourteen readers of 0.3 seconds: every table is always being read, and nobody is ended."""
    create_shadow(engine, MEMOS, "one")
    names = [spec.name for spec in MEMOS.tables]
    errors: list[BaseException] = []
    stop = threading.Event()

    def read(place: int) -> None:
        try:
            with psycopg.connect(libpq_url(database_url)) as conn:
                while not stop.is_set():
                    with conn.transaction():
                        conn.execute(f"select count(*) from memos.{names[place % len(names)]}")
                        stop.wait(0.3)
                    place += 1
        except BaseException as error:  # noqa: BLE001  the test looks at it
            errors.append(error)

    readers = [threading.Thread(target=read, args=(place,)) for place in range(14)]
    for reader in readers:
        reader.start()
    try:
        assert swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=30).live == 2
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert errors == []


def test_a_reader_that_waits_for_us_with_what_we_want_is_let_through(
    engine: sa.Engine, database_url: sa.URL
) -> None:
    """It has the last table and then wants the first: to wait for it would be a deadlock."""
    create_shadow(engine, MEMOS, "one")
    first, last = min(spec.name for spec in MEMOS.tables), max(spec.name for spec in MEMOS.tables)
    errors: list[BaseException] = []
    has_last = threading.Event()

    def read() -> None:
        try:
            with psycopg.connect(libpq_url(database_url)) as conn, conn.transaction():
                conn.execute(f"select count(*) from memos.{last}")
                has_last.set()
                time.sleep(0.2)
                conn.execute(f"select count(*) from memos.{first}")
        except BaseException as error:  # noqa: BLE001  the test looks at it
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    has_last.wait()
    assert swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH).live == 2
    reader.join()
    assert errors == []
