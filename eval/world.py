"""Where a set is remembered: a server of its own, sessions of services, an embedder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import SyncMemory
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.search.embed import Embedder
from memos_assets.settings import Settings


@dataclass(frozen=True)
class World:
    """Memory with an embedder, and sessions whose role is bound by row-level security."""

    memory: SyncMemory
    sessions: sessionmaker[Session]
    model: str


@contextmanager
def opened_world(embedder: Embedder) -> Iterator[World]:
    """Start a server with an empty database; stop and remove it, however the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="memos-eval-"))
    server = EmbeddedServer(folder / "home")
    try:
        server.start()
        settings = Settings(home=server.home, database_url=None)
        with open_sync_memory_sessions(settings) as sessions:
            owner = create_engine(server.url(), settings, application_name="eval", pooled=False)
            ensure_registered(owner, embedder)
            yield World(SyncMemory(settings, embedder=embedder), sessions, embedder.model)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
