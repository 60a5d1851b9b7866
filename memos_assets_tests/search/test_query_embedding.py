"""How an embedding that is searched for reaches PostgreSQL, by whatever driver."""

import asyncio

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from memos_assets.catalog import MEMOS
from memos_assets.catalog.columns import Stored
from memos_assets.errors import UsageError
from memos_assets.indexes.build import ensure_index
from memos_assets.search import api, api_async
from memos_assets.search.functions import install
from memos_assets.search.query_embedding import (
    EmbeddingArray,
    QueryEmbedding,
    bound,
    query_embedding,
)
from memos_assets_tests.indexes.rows import EVERY_INDEX, put_clusters, search_index

HALF, SINGLE = "embeddings_embedding_768_hnsw", "corpus_chunks_embedding_768_hnsw"
QUERY = np.random.default_rng(5).standard_normal(768)


@pytest.fixture
def searched(engine: sa.Engine) -> sa.Engine:
    for name in (HALF, SINGLE):
        put_clusters(engine, EVERY_INDEX[name], clusters=4, each=8)
        ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    with engine.begin() as conn:
        install(conn, MEMOS.schema, MEMOS.searchable)
    return engine


def received(conn: sa.Connection, embedding: QueryEmbedding, *, as_text: bool) -> str:
    values = (
        {"requested": embedding.text} if as_text else dict(bound(conn, {"requested": embedding}))
    )
    statement = sa.text(f"select cast(cast(:requested as public.{embedding.stored}) as text)")
    return str(conn.execute(statement, values).scalar_one())


@pytest.mark.parametrize("stored", ["vector", "halfvec"])
@pytest.mark.parametrize(
    "elements",
    [
        pytest.param([1.0], id="one"),
        pytest.param([1 / 3, -2 / 3, 0.1], id="rounded"),
        pytest.param([65_504.0, -65_504.0, 2.0**-24, 2.0**-14], id="the limits of half precision"),
        pytest.param([-0.0, 1.0], id="minus zero"),
        pytest.param(QUERY.tolist(), id="many"),
    ],
)
def test_binary_and_text_are_the_same_embedding(
    engine: sa.Engine, stored: Stored, elements: list[float]
) -> None:
    embedding = query_embedding(np.array(elements, np.float32), stored)
    with engine.connect() as conn:
        binary = received(conn, embedding, as_text=False)
        assert binary == received(conn, embedding, as_text=True)
        assert binary.count(",") == len(elements) - 1


@pytest.mark.parametrize("length", [1e-30, 1e-8, 1e5, 1e30])
@pytest.mark.parametrize("name", [HALF, SINGLE])
def test_the_length_of_an_embedding_does_not_matter(
    searched: sa.Engine, name: str, length: float
) -> None:
    table = EVERY_INDEX[name].table
    with searched.connect() as conn:
        wanted, found = (api.search(conn, table, QUERY * by, 5) for by in (1.0, length))
    assert [hit.key for hit in found] == [hit.key for hit in wanted]
    one, other = ([hit.distance or 0 for hit in hits] for hits in (found, wanted))
    assert np.allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("name", [HALF, SINGLE])
def test_another_driver_sends_text_and_finds_the_same(searched: sa.Engine, name: str) -> None:
    table = EVERY_INDEX[name].table
    other = sa.create_engine(searched.url.set(drivername="postgresql+psycopg2"))
    try:
        with searched.connect() as conn, other.connect() as theirs:
            assert api.search(theirs, table, QUERY, 5) == api.search(conn, table, QUERY, 5)
    finally:
        other.dispose()


async def _asked(url: sa.URL, query: npt.NDArray[np.float64]) -> list[list[api.Hit]]:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as conn, AsyncSession(engine) as session:
            return [
                await api_async.search(conn, "corpus_chunks", query, 5),
                await api_async.search(session, "corpus_chunks", query, 5),
            ]
    finally:
        await engine.dispose()


def test_an_asynchronous_connection_and_session_find_the_same(searched: sa.Engine) -> None:
    with searched.connect() as conn:
        wanted = api.search(conn, "corpus_chunks", QUERY, 5)
    assert asyncio.run(_asked(searched.url, QUERY)) == [wanted, wanted]
    assert len(wanted) == 5


async def _refused(url: sa.URL) -> str:
    engine = create_async_engine(url)
    try:
        async with engine.connect() as conn:
            filters = {"metadata": {"nobody": 1}}
            with pytest.raises(UsageError) as raised:
                await api_async.search(conn, "embeddings", QUERY, filters=filters)
            return str(raised.value)
    finally:
        await engine.dispose()


def test_an_asynchronous_search_refuses_the_same_filter(searched: sa.Engine) -> None:
    assert asyncio.run(_refused(searched.url)).startswith("M575 table embeddings: no row has the")


def test_a_session_of_each_thread_is_a_session(searched: sa.Engine) -> None:
    sessions = scoped_session(sessionmaker(searched))
    with searched.connect() as conn:
        wanted = api.search(conn, "corpus_chunks", QUERY, 5)
    assert api.search(sessions, "corpus_chunks", QUERY, 5) == wanted
    sessions.remove()


def test_an_array_of_embeddings_is_the_same_in_binary_and_text(engine: sa.Engine) -> None:
    rows = np.random.default_rng(6).standard_normal((5, 33)).astype(np.float32)
    given = EmbeddingArray(rows)
    statement = sa.text("select cast(cast(:given as public.halfvec[]) as text)")
    with engine.connect() as conn:
        binary = conn.execute(statement, dict(bound(conn, {"given": given}))).scalar_one()
        assert binary == conn.execute(statement, {"given": given.text}).scalar_one()
    assert len(binary.split('","')) == 5
