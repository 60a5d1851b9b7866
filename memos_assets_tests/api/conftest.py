"""The application behind a real server on a free port, with users, tokens and clients."""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy.orm import Session

from memos_assets.api.app import create_app
from memos_assets.api.doors import Doors
from memos_assets.api.serve import bind, options
from memos_assets.catalog import MEMOS
from memos_assets.memory import access_tokens, sessions_for
from memos_assets.memory.models import ensure_registered
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.search.embed import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.search.functions import install
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database

Token = Callable[..., str]
Client = Callable[..., httpx.Client]
_users = itertools.count(1)
#: Passes for the model of memOS's memories.
EMBEDDER = DeterministicEmbedder(1_024, model="mxbai-embed-large")


class Server:
    """A server of an application in a thread of its own."""

    def __init__(self, app: Any, settings: Settings) -> None:
        self.bound = bind(settings)
        host, port = self.bound.getsockname()[:2]
        self.url = f"http://{host}:{port}"
        self.app = app
        config = uvicorn.Config(app, **options(settings) | {"log_config": None})
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._server.serve(sockets=[self.bound]))

    def __enter__(self) -> "Server":
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def events_with_numbers(response: httpx.Response) -> list[tuple[str, int | None, Any]]:
    """Return the events of a stream that has ended: name, number and data."""
    found = []
    for block in "".join(response.iter_text()).strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        number = int(fields["id"]) if "id" in fields else None
        found.append((fields["event"], number, json.loads(fields["data"])))
    return found


def wait_until_idle(owners: sa.Engine) -> None:
    """Wait until no connection of a server of these tests is in use, for 20 seconds at most."""
    busy = sa.text(
        "select count(*) from pg_stat_activity where application_name = 'memos_assets:api' "
        "and datname = current_database() and state <> 'idle'"
    )
    until = time.monotonic() + 20
    with owners.connect() as conn:
        # One look is enough: notes of uses are written every some seconds.
        while found := conn.scalar(busy):
            assert time.monotonic() < until, f"{found} connections are in use"
            conn.rollback()
            time.sleep(0.05)


def doors_with(embedder: Any) -> Callable[[Settings], Doors]:
    """Return what opens doors with an embedder of the tests."""

    def made(settings: Settings) -> Doors:
        sessions = sessions_for(settings, application_name="memos_assets:api")
        return Doors(settings, sessions, embedder)

    return made


@contextmanager
def served(settings: Settings, **given: Any) -> Iterator[Server]:
    """Serve an application with these settings until the end of the block."""
    make_doors = doors_with(ThreadedEmbedder(EMBEDDER))
    app = create_app(settings, **{"make_doors": make_doors, **given})
    with Server(app, settings) as server:
        yield server


@pytest.fixture(scope="package")
def api_settings(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database that all tests of this folder share, each with users of its own."""
    home: Path = tmp_path_factory.mktemp("api")
    with copied_database(server, template) as url:
        settings = Settings(
            home=home,
            database_url=SecretStr(libpq_url(url)),
            memory_keys=SecretStr(Fernet.generate_key().decode()),
            api_port=0,
        )
        engine = create_engine(url, settings, application_name="tests", pooled=False)
        ensure_registered(engine, EMBEDDER)
        with engine.begin() as conn:
            install(conn, MEMOS.schema, MEMOS.searchable)
            conn.execute(
                sa.text(
                    "insert into memos.hybrid_documents "
                    "(source, doc_id, content, metadata, chunk, source_rowid, embedding_reason) "
                    "values ('hsea', 'srvo_062', 'SRVO-062 BZAL alarm: the battery of the pulse "
                    "coder is empty.', '{}', 0, 1, 'null_embedding')"
                )
            )
        yield settings


@pytest.fixture(scope="package")
def owners(api_settings: Settings) -> Iterator[sa.Engine]:
    """Connect as the owner of the tables, who sees every row."""
    assert api_settings.database_url is not None
    url = sa.make_url(api_settings.database_url.get_secret_value())
    url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url, api_settings, application_name="tests:owner", pooled=False)
    yield engine
    engine.dispose()


@pytest.fixture(scope="package")
def api(api_settings: Settings) -> Iterator[Server]:
    """Serve the application."""
    with served(api_settings) as running:
        yield running


@pytest.fixture
def user() -> str:
    """Name a user whom no other test knows."""
    return f"user-{next(_users)}"


@pytest.fixture
def token(owners: sa.Engine, user: str) -> Token:
    """Make tokens: of the test's user, unless another is named."""

    def made(of: str = user, **given: Any) -> str:
        with Session(owners) as session, session.begin():
            return access_tokens.create(session, user=of, made_by="tests", **given)[0]

    return made


@pytest.fixture(scope="package")
def shared_token(owners: sa.Engine) -> str:
    """Make a token of a user whom tests of this folder share."""
    with Session(owners) as session, session.begin():
        return access_tokens.create(session, user="shared", made_by="tests")[0]


@pytest.fixture
def client(api: Server, token: Token) -> Iterator[Client]:
    """Open clients with a token: of the test's user, unless another is named."""
    opened: list[httpx.Client] = []

    def open_one(*, bearer: str | None = None, url: str = api.url, **given: Any) -> httpx.Client:
        headers = {"Authorization": f"Bearer {bearer or token(**given)}"}
        made = httpx.Client(base_url=url, headers=headers, timeout=30)
        opened.append(made)
        return made

    yield open_one
    for one in opened:
        one.close()
