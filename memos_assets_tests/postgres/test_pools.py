"""A pool serves its threads in their order, and says what to set when it is too small."""

import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres.engine import closing_pool, create_engine
from memos_assets.settings import Settings


@pytest.fixture
def small(database_url: sa.URL) -> Iterator[sa.Engine]:
    """A pool of one connection, for which half a second is waited."""
    chosen = Settings(pool_size=1, max_overflow=0, pool_timeout_seconds=0.5)
    with closing_pool(create_engine(database_url, chosen, application_name="tests")) as engine:
        yield engine


def test_who_waits_comes_before_who_asks_anew(small: sa.Engine) -> None:
    order: list[str] = []

    def wait() -> None:
        with small.connect():
            order.append("waited")
            time.sleep(0.05)

    waiting = threading.Thread(target=wait)
    with small.connect():
        waiting.start()
        while not small.pool._order._waiting:  # type: ignore[attr-defined]
            time.sleep(0.001)
    with small.connect():
        order.append("asked anew")
    waiting.join()
    assert order == ["waited", "asked anew"]


def test_every_place_comes_back(small: sa.Engine) -> None:
    with small.connect(), pytest.raises(TargetError, match=r"^M348 pool: all 1 .*MEMOS_POOL_SIZE"):
        small.connect()
    with small.connect() as conn:
        conn.invalidate()
    with small.connect() as conn:
        conn.detach()
    forgotten: sa.Connection | None = small.connect()
    assert forgotten is not None
    del forgotten
    url = small.url.set(database="no such database")
    missing = create_engine(url, Settings(pool_size=1, max_overflow=0), application_name="tests")
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            missing.connect()
    small.dispose()
    with small.connect() as conn:
        assert conn.execute(sa.text("select 1")).scalar_one() == 1
