"""One throwaway PostgreSQL per session, one database per test."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from pydantic import SecretStr

from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, create_engine, libpq_url
from memos_assets.postgres.migrations import upgrade
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.settings import PROJECT_ROOT, Settings
from memos_assets_tests.postgres.application.memos import BEFORE, write_memos

if TYPE_CHECKING:  # it takes Dagster, which most tests do without
    from memos_assets_tests.defs.consolidated import ConsolidatedWorlds

#: Nothing here has to survive a power failure.
FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
}
_numbers = itertools.count(1)

TESTS = Path(__file__).parent
#: Folders of tests about what is not in the package: programs that take minutes if they are let.
BESIDE_THE_ROOMS = ("bench", "eval", "faults", "fuzz", "tamper", "tools")
#: Fixture -> hundredths of a second that a test with it takes, most of it in runs.
COSTS = {"server": 20, "database": 150, "world": 400, "consolidated": 400}

#: Databases written by memOS's own classes; beside the checkout, not in it.
SAMPLES = PROJECT_ROOT.parent / "shared" / "samples"


def pytest_report_header() -> str:
    return f"samples: {'beside the checkout' if SAMPLES.is_dir() else 'not here'}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark slow tests, leave those on samples out where there are none, and put long files first.

    Files are ordered for workers alone: a long file that comes last keeps one core busy while the
    others are idle.
    """
    for item in items:
        if is_slow(item):
            item.add_marker(pytest.mark.slow)
    if not SAMPLES.is_dir():
        left = [item for item in items if "samples" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]
    if hasattr(config, "workerinput"):
        costs: Counter[Path] = Counter()
        for item in items:
            costs[item.path] += cost(item)
        items.sort(key=lambda item: (-costs[item.path], str(item.path)))


def is_slow(item: pytest.Item) -> bool:
    """Whether a test needs a server, is able to start one or a process, or races and searches."""
    starters = {"EmbeddedServer", "subprocess"} & vars(getattr(item, "module", item)).keys()
    folder = item.path.relative_to(TESTS).parts[0]
    return bool(starters) or cost(item) > 1 or folder in BESIDE_THE_ROOMS


def cost(item: pytest.Item) -> int:
    """Return about how long a test takes, in hundredths of a second, by its fixtures."""
    return max((COSTS.get(name, 1) for name in getattr(item, "fixturenames", ())), default=1)


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return the folder of samples; read-only, copy before use."""
    return SAMPLES


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests off the developer's own database and state."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"MEMOS_{name.upper()}", raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """Start one embedded server for the whole session.

    Outside of pytest's own folder: another session closes that to the server's user.
    """
    with tempfile.TemporaryDirectory(prefix="memos-tests-") as home:
        embedded = EmbeddedServer(Path(home), settings=FAST)
        embedded.start()
        yield embedded
        embedded.stop()


@pytest.fixture(scope="session")
def template(server: EmbeddedServer) -> str:
    """Name a database with the extension, the newest schema and memOS's tables, to be copied."""
    name = "test_template"
    with _administrator(server) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
    engine = create_engine(
        server.url(name), Settings(), application_name="tests:template", pooled=False
    )
    check_server(engine)
    upgrade(engine, create_application=True)
    return name


@pytest.fixture(scope="session")
def memos_template(server: EmbeddedServer, template: str) -> str:
    """Name a database at the revision before, with memOS's tables, for the others to copy."""
    name = "memos_template"
    administrator = libpq_url(server.url("postgres"))
    with psycopg.connect(administrator, autocommit=True) as conn:
        conn.execute(
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    engine = create_engine(server.url(name), Settings(), application_name="tests", pooled=False)
    migrations.downgrade(engine, BEFORE)
    with psycopg.connect(libpq_url(server.url(name))) as conn:
        write_memos(conn)
    return name


@pytest.fixture
def database_url(server: EmbeddedServer, template: str) -> Iterator[sa.URL]:
    """Copy the template for one test."""
    with copied_database(server, template) as url:
        yield url


@pytest.fixture
def settings(database_url: sa.URL, tmp_path: Path) -> Settings:
    """Settings for one test: its own home, its own database."""
    return Settings(home=tmp_path / "home", database_url=SecretStr(libpq_url(database_url)))


@pytest.fixture
def engine(database_url: sa.URL, settings: Settings) -> Iterator[sa.Engine]:
    """Open a pooled engine on the test's database."""
    made = create_engine(database_url, settings, application_name="tests")
    yield made
    made.dispose()


@pytest.fixture(scope="module")
def shared_engine(server: EmbeddedServer, template: str) -> Iterator[sa.Engine]:
    """Open an engine on a database that the tests of one module share: for those that only look."""
    with copied_database(server, template) as url:
        made = create_engine(url, Settings(), application_name="tests:shared")
        yield made
        made.dispose()


@pytest.fixture(scope="session")
def consolidated_worlds(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[ConsolidatedWorlds]":
    """Keep what was consolidated for one test for the others; here, so that folders share it."""
    from memos_assets_tests.defs.consolidated import ConsolidatedWorlds

    with ExitStack() as kept:
        yield ConsolidatedWorlds(server, template, tmp_path_factory.mktemp("worlds"), kept)


@contextmanager
def copied_database(server: EmbeddedServer, template: str) -> Iterator[sa.URL]:
    """Copy a database, and drop the copy at the end of the block."""
    name = f"test_{next(_numbers)}"
    create = sql.SQL("create database {} template {} strategy file_copy")
    drop = sql.SQL("drop database {} with (force)")
    with _administrator(server) as conn:
        conn.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield server.url(name)
    finally:
        with _administrator(server) as conn:
            conn.execute(drop.format(sql.Identifier(name)))


def _administrator(server: EmbeddedServer) -> psycopg.Connection:
    return psycopg.connect(libpq_url(server.url("postgres")), autocommit=True)
