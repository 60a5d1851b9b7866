"""Advisory locks: one registry, no two of one key, keys that no checkout changes."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from memos_assets.postgres import advisory_locks
from memos_assets.postgres.advisory_locks import LOCKS, AdvisoryLock
from memos_assets.settings import PROJECT_ROOT

#: As the first checkouts took them; another number would let an old process beside a new one.
KEYS = {
    "extension": 0x6D656D6F_01,
    "migration": 0x6D656D6F_02,
    "dagster tables": 0x6D656D6F_03,
    "shadow": 0x6D656D6F_04,
    "backup": 0x6D656D6F_05,
    "functions": 0x6D656D6F_06,
    "models": 0x6D656D6F_07,
    "word counts": 0x6D656D6F_08,
    "restore": 0x6D656D6F_09,
    "trial": 0x6D656D6F_10,
    "run": 0x6D656D6F,
    "chunks": None,
    "memories": 0x6D656D6F + 1,
    "snapshots": 0x6D656D6F + 2,
}


def subjects_of(lock: AdvisoryLock) -> list[str]:
    return [f"some {subject}" for subject in lock.subjects]


def by_name(lock: AdvisoryLock) -> str:
    return lock.name


def taken(conn: sa.Connection) -> list[tuple[int, int, int]]:
    """Return upper half, lower half and kind of key (1: one number, 2: two) of every lock."""
    found = conn.execute(
        sa.text(
            "select classid::bigint, objid::bigint, objsubid::int from pg_locks "
            "where locktype = 'advisory' and granted and database = "
            "(select oid from pg_database where datname = current_database())"
        )
    )
    return [(row[0], row[1], row[2]) for row in found]


def test_every_lock_is_in_the_registry_and_none_is_there_twice() -> None:
    named = [value for value in vars(advisory_locks).values() if isinstance(value, AdvisoryLock)]
    assert sorted(named, key=by_name) == sorted(LOCKS, key=by_name)
    assert len({lock.name for lock in LOCKS}) == len(LOCKS)


def test_keys_are_those_of_former_checkouts_and_no_two_are_equal() -> None:
    assert {lock.name: lock.key for lock in LOCKS} == KEYS
    # Numbers of 64 bits and pairs of 32 are spaces of their own.
    spaces = [(len(lock.subjects), lock.key) for lock in LOCKS]
    assert len(set(spaces)) == len(spaces)
    assert all(lock.key is not None or len(lock.subjects) == 2 for lock in LOCKS)


def test_no_other_module_spells_an_advisory_lock() -> None:
    sources = [*(PROJECT_ROOT / "memos_assets").rglob("*.py"), *(PROJECT_ROOT / "sql").rglob("*")]
    spelling = [
        path.name
        for path in filter(Path.is_file, sources)
        if path.suffix in (".py", ".sql")
        and "advisory_" in path.read_text("utf-8").replace("advisory_locks", "")
    ]
    # A revision is frozen, and its functions take locks in the database themselves.
    assert spelling == ["advisory_locks.py", "0019_evictions_until_their_commit.py"]


@pytest.fixture
def sessions(engine: sa.Engine) -> Iterator[tuple[sa.Connection, sa.Connection]]:
    with engine.connect() as one, engine.connect() as other:
        yield one, other


@pytest.mark.parametrize("lock", LOCKS, ids=by_name)
def test_a_lock_that_a_session_holds_is_refused_to_another_until_it_is_given_back(
    sessions: tuple[sa.Connection, sa.Connection], lock: AdvisoryLock
) -> None:
    one, other = sessions
    lock.wait(one, *subjects_of(lock))
    assert not lock.tried(other, *subjects_of(lock))
    one.rollback()
    assert lock.tried(other, *subjects_of(lock)) == (lock.scope == "transaction")
    if lock.scope == "session":
        lock.release(one, *subjects_of(lock))
        assert lock.tried(other, *subjects_of(lock))
        lock.release(other, *subjects_of(lock))


def test_the_server_sees_the_numbers_that_former_checkouts_took(
    sessions: tuple[sa.Connection, sa.Connection],
) -> None:
    one, _ = sessions
    hashes = one.execute(sa.text("select hashtext('r'), hashtext('memos.t'), hashtext('s')")).one()
    run, table, source = (value & 0xFFFFFFFF for value in hashes)
    advisory_locks.SHADOW.wait(one)
    advisory_locks.RUN.wait(one, "r")
    advisory_locks.CHUNKS.wait(one, "memos.t", "s")
    assert sorted(taken(one)) == sorted(
        [(0x6D, 0x656D6F04, 1), (0x6D656D6F, run, 2), (table, source, 2)]
    )
    advisory_locks.SHADOW.release(one)
    advisory_locks.RUN.release(one, "r")


def test_subjects_of_one_lock_do_not_exclude_each_other(
    sessions: tuple[sa.Connection, sa.Connection],
) -> None:
    one, other = sessions
    assert advisory_locks.CHUNKS.tried(one, "memos.t", "s")
    assert advisory_locks.CHUNKS.tried(other, "memos.t", "another")
    assert not advisory_locks.CHUNKS.tried(other, "memos.t", "s")


def test_a_lock_tried_alone_is_free_again_however_the_block_ends(engine: sa.Engine) -> None:
    with suppress(RuntimeError), advisory_locks.TRIAL.tried_alone(engine) as taken:
        assert taken
        with advisory_locks.TRIAL.tried_alone(engine) as again:
            assert not again
        raise RuntimeError
    with advisory_locks.TRIAL.tried_alone(engine) as taken:
        assert taken


def test_a_condition_takes_the_lock_of_a_session_for_a_transaction(
    sessions: tuple[sa.Connection, sa.Connection],
) -> None:
    one, other = sessions
    free = sa.select(advisory_locks.SHADOW.tried_within_transaction())
    assert one.execute(free).scalar_one()
    assert not advisory_locks.SHADOW.tried(other)
    one.rollback()
    assert advisory_locks.SHADOW.tried(other)
    assert not one.execute(free).scalar_one()
    advisory_locks.SHADOW.release(other)


def test_a_wait_ends_with_the_lock_timeout_of_its_session(
    sessions: tuple[sa.Connection, sa.Connection],
) -> None:
    one, other = sessions
    advisory_locks.MIGRATION.wait(one)
    other.execute(sa.text("set local lock_timeout = '10ms'"))
    with pytest.raises(sa.exc.OperationalError) as caught:
        advisory_locks.MIGRATION.wait(other)
    assert isinstance(caught.value.orig, psycopg.errors.LockNotAvailable)
