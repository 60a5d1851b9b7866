"""A database in which agents of two users have remembered something, and a store of snapshots."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import SyncMemory
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot

EMBEDDER = DeterministicEmbedder(64)


@dataclass(frozen=True, slots=True)
class Agents:
    """Agents at work on a database, and snapshots of it."""

    engine: sa.Engine
    settings: Settings
    sessions: sessionmaker[Session]
    memory: SyncMemory
    store: Store

    @contextmanager
    def acting(self, user: str = "ann") -> Iterator[Session]:
        with self.sessions.begin() as session:
            self.memory.act_as(session, user=user)
            yield session

    def remember(self, *texts: str, user: str = "ann") -> list[str]:
        prepared = [self.memory.prepare(text, subject=f"about {text}") for text in texts]
        with self.acting(user) as session:
            return [self.memory.remember(session, one).id for one in prepared]

    def recall(self, text: str, user: str = "ann") -> list[str]:
        with self.acting(user) as session:
            return [hit.content for hit in self.memory.recall(session, self.memory.query(text))]

    def snapshot(self) -> Manifest:
        return write_snapshot(self.engine, self.store).manifest

    def count(self, table: str) -> int:
        with self.engine.connect() as conn:
            return int(conn.exec_driver_sql(f"select count(*) from {table}").scalar_one())

    def schemas(self) -> set[str]:
        with self.engine.connect() as conn:
            return set(sa.inspect(conn).get_schema_names())


@pytest.fixture
def agents(engine: sa.Engine, settings: Settings) -> Iterator[Agents]:
    ensure_registered(engine, EMBEDDER)
    with open_sync_memory_sessions(settings) as sessions:
        made = Agents(
            engine,
            settings,
            sessions,
            SyncMemory(settings, embedder=EMBEDDER),
            open_store(settings.snapshots_location),
        )
        made.remember("Ann has a red boat", "The boat is in Kiel", "Kiel is at the sea")
        made.remember("Bob cooks soup", user="bob")
        yield made
