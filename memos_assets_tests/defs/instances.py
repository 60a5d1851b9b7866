"""Dagster instances in memory, as quick as they can be without being another kind of instance."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import sqlalchemy as sa


@contextmanager
def ephemeral(like: dg.DagsterInstance | None = None) -> Iterator[dg.DagsterInstance]:
    """Make an instance that is gone after the block.

    As `MemosStorage` does, it keeps connections and asks once for tables and columns: a run of the
    whole checklist takes a quarter less time than in `dg.DagsterInstance.ephemeral()`.

    Args:
        like: another one, whose runs and events it has from the start.
    """
    with dg.DagsterInstance.ephemeral() as instance:
        for name in ("run_storage", "event_log_storage"):
            storage: Any = getattr(instance, name)
            if like is not None:
                _connection_of(getattr(like, name)).backup(_connection_of(storage))
            # Their own opens a connection for every event.
            storage._engine = sa.create_engine(
                storage._engine.url,
                poolclass=sa.QueuePool,
                connect_args={"check_same_thread": False},
            )
        events: Any = instance.event_log_storage
        events._connect = functools.partial(_connection_for_a_block, events)
        events.has_table = functools.cache(events.has_table)
        events.has_asset_key_col = functools.cache(events.has_asset_key_col)
        yield instance


@contextmanager
def _connection_for_a_block(events: Any) -> Iterator[sa.Connection]:
    """Do as `InMemoryEventLogStorage._connect`, without the two pragmas per event.

    They are half of its statements, and change nothing: a database in memory has no journal, and
    none of its tables a foreign key.
    """
    with events._db_lock, events._engine.begin() as conn:
        yield conn


def _connection_of(storage: Any) -> Any:
    """Return the SQLite connection that keeps a storage in memory alive."""
    return storage._held_conn.connection.dbapi_connection
