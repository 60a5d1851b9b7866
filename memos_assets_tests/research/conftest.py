"""A small corpus with a contradiction, users, and runs of the pipeline over it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from memos_assets.catalog import MEMOS
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.research import Research
from memos_assets.research.sync_facade import open_research
from memos_assets.search.functions import install
from memos_assets.search.searchable import searchable
from memos_assets.settings import Settings
from memos_assets_tests.conftest import copied_database
from memos_assets_tests.indexes.rows import put_texts

_users = itertools.count(1)
TABLE: Final = searchable("hybrid_documents", MEMOS.searchable)
QUESTION: Final = "What does SRVO-062 mean?"
TEXTS: Final = {
    "battery": "SRVO-062 is an alarm of the pulse coder.\nSRVO-062 is caused by the battery.",
    "cable": "SRVO-062 is not caused by the battery.",
    "remedy": "Remedy of SRVO-062: replace the unit A06B-6114-K504 and wait 54 s.",
    "other": "MOTN-017 is a limit error of the sixth axis.",
}
Result = TypeVar("Result")


@dataclass(frozen=True)
class Corpus:
    """A database with the corpus, and what runs the pipeline on it."""

    settings: Settings
    engine: sa.Engine

    @asynccontextmanager
    async def opened(self, **options: Any) -> AsyncIterator[Research]:
        async with open_research(self.settings, tables=(TABLE,), **options) as research:
            yield research

    def run(self, work: Callable[[Research], Awaitable[Result]], **options: Any) -> Result:
        """Run what is done with a pipeline of its own."""

        async def done() -> Result:
            async with self.opened(**options) as research:
                return await work(research)

        return asyncio.run(done())

    def rows(self, statement: str, **values: Any) -> list[Any]:
        """Return rows, as the owner sees them."""
        with self.engine.begin() as conn:
            return list(conn.execute(sa.text(statement), values))


@pytest.fixture(scope="module")
def corpus(
    server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Corpus]:
    """Fill a database that the tests of one module share, each with a user of its own."""
    home: Path = tmp_path_factory.mktemp("research")
    with copied_database(server, template) as url:
        settings = Settings(home=home, database_url=SecretStr(libpq_url(url)))
        engine = create_engine(url, settings, application_name="tests", pooled=False)
        put_texts(engine, TABLE.name, TEXTS)
        with engine.begin() as conn:
            install(conn, MEMOS.schema, MEMOS.searchable)
        yield Corpus(settings, engine)


@pytest.fixture
def user() -> str:
    """Name a user whom no other test knows."""
    return f"user-{next(_users)}"
