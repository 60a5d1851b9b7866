"""Every value of a column arrives bit for bit: SQLite, Arrow, COPY, PostgreSQL, Arrow."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from memos_assets.catalog import MEMOS
from memos_assets.demo import mixed
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.postgres.copy.decode import read_batches
from memos_assets_tests.consolidate import builders as b

_BUDGET = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Travel = Callable[[str, str, Sequence[Mapping[str, Any]]], pa.Table]


@pytest.fixture(scope="module")
def travel(shared_engine: sa.Engine, tmp_path_factory: pytest.TempPathFactory) -> Travel:
    """Take rows of one SQLite table to PostgreSQL and read the target table back."""
    folder = tmp_path_factory.mktemp("round") / "data"

    def travelled(kind: str, target: str, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
        (folder / b.LAYOUTS[kind][1]).unlink(missing_ok=True)
        spec = MEMOS.table(target)
        path = b.write_kind(folder, kind, **{spec.origin: rows})
        b.accept_counts(shared_engine, path)
        b.consolidate(shared_engine, path)
        assert b.rejects(shared_engine, target) == []
        found = b.findings(shared_engine, target)
        assert found["v01_row_counts_match"].passed
        assert found["v02_rows_match_bit_for_bit"].passed, found
        return read_back(shared_engine, target)

    return travelled


def read_back(engine: sa.Engine, target: str) -> pa.Table:
    schema = table_schema(MEMOS.table(target))
    query = sql.SQL("select {} from {} order by source_rowid").format(
        sql.SQL(", ").join(map(sql.Identifier, schema.names)), sql.Identifier("memos", target)
    )
    with engine.connect() as conn:
        driver = driver_of(conn)
        return pa.Table.from_batches(list(read_batches(driver, query, schema)), schema)


def bits(table: pa.Table, column: str, pattern: str) -> list[list[int]]:
    """The bit patterns of each vector."""
    return [
        np.asarray(value.values.to_numpy()).view(pattern).tolist() for value in table.column(column)
    ]


def test_every_finite_float16_survives(travel: Travel) -> None:
    patterns = np.arange(2**16, dtype="<u2")
    finite = patterns[(patterns & 0x7C00) != 0x7C00].reshape(-1, 1_024)
    rows = [
        b.embedding(number, fp16_data=half.tobytes(), dimension=1_024)
        for number, half in enumerate(finite, start=1)
    ]
    table = travel("mixed_precision_embeddings", "embeddings", rows)
    assert bits(table, "embedding", "<u2") == finite.tolist()


@given(lengths=st.lists(st.integers(1, 16_000), min_size=1, max_size=4))
@_BUDGET
def test_float16_vectors_of_any_dimension_survive(lengths: list[int], travel: Travel) -> None:
    halves = [b.float16(number, dim) for number, dim in enumerate(lengths)]
    rows = [
        b.embedding(number, fp16_data=half, dimension=len(half) // 2)
        for number, half in enumerate(halves, start=1)
    ]
    table = travel("mixed_precision_embeddings", "embeddings", rows)
    assert bits(table, "embedding", "<u2") == [np.frombuffer(h, "<u2").tolist() for h in halves]
    assert table.column("dimension").to_pylist() == lengths


#: Bit patterns up to 2^54: beside a 1 their squares sum up to what float32 has.
_FLOAT32 = st.integers(0, 2**32 - 1).filter(lambda bits: bits & 0x7F80_0000 < 0x5A80_0000)
_ONE = 0x3F80_0000


@given(elements=st.lists(st.lists(_FLOAT32, max_size=64), min_size=1, max_size=4))
@_BUDGET
def test_any_float32_in_the_range_of_search_survives(
    elements: list[list[int]], travel: Travel
) -> None:
    patterns = [np.resize(np.array([_ONE, *row], "<u4"), 1_024) for row in elements]
    rows = [
        b.document(number, dense_embedding=pattern.tobytes())
        for number, pattern in enumerate(patterns, start=1)
    ]
    table = travel("hybrid", "hybrid_documents", rows)
    assert bits(table, "embedding", "<u4") == [pattern.tolist() for pattern in patterns]


@given(
    numbers=st.lists(
        st.floats(-(2.0**54), 2.0**54, width=32, allow_nan=False, allow_infinity=False), max_size=64
    )
)
@_BUDGET
def test_json_numbers_become_the_nearest_float32(numbers: list[float], travel: Travel) -> None:
    vector = np.resize(np.array([1.0, *numbers], "<f4"), 768)
    text = json.dumps(vector.tolist())
    table = travel("semantic_memory", "semantic_memories", [b.memory(1, embedding=text)])
    assert bits(table, "embedding", "<u4") == [vector.view("<u4").tolist()]


_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4),
    max_leaves=12,
)


def exact(text: str) -> Any:
    """Parse JSON with its numbers as they are written."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


@given(texts=st.lists(st.none() | _TEXT, min_size=1, max_size=20), documents=st.lists(_JSON))
@_BUDGET
def test_any_text_and_any_json_survive(
    texts: list[str | None], documents: list[Any], travel: Travel
) -> None:
    every = [*texts, *(None for _ in documents)]
    values = [*("{}" for _ in texts), *map(json.dumps, documents)]
    rows = [
        b.memory(number, embedding=None, content=text or "", attributes=value, memory_type=text)
        if text is not None
        else b.memory(number, embedding=None, attributes=value)
        for number, (text, value) in enumerate(zip(every, values, strict=True), start=1)
    ]
    table = travel("semantic_memory", "semantic_memories", rows)
    assert table.column("content").to_pylist() == [row["content"] for row in rows]
    assert table.column("memory_type").to_pylist() == [row["memory_type"] for row in rows]
    read = table.column("attributes").to_pylist()
    assert [exact(value) for value in read] == [exact(value) for value in values]


@given(
    numbers=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False),
            st.integers(0, 1),
            st.floats(width=32, allow_nan=False),
        ),
        min_size=1,
        max_size=20,
    )
)
@_BUDGET
def test_any_integer_and_any_real_survive(
    numbers: list[tuple[int, float, int, float]], travel: Travel
) -> None:
    entities = [
        b.entity(number, mention_count=whole, confidence=real)
        for number, (whole, real, _, _) in enumerate(numbers, start=1)
    ]
    table = travel("corpus", "corpus_entities", entities)
    assert table.column("mention_count").to_pylist() == [whole for whole, *_ in numbers]
    # SQLite keeps -0.0 in a REAL column as the integer 0.
    assert table.column("confidence").to_pylist() == [real for _, real, *_ in numbers]
    nodes = [
        b.node(number, depth=np.float32(depth).tobytes())
        for number, (*_, depth) in enumerate(numbers, start=1)
    ]
    table = travel("hyperbolic_embeddings", "hyperbolic_documents", nodes)
    assert table.column("depth").to_pylist() == [depth for *_, depth in numbers]


_ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_ZONES)  # noqa: DTZ001
_UNIX = st.floats(-62_135_596_800, 253_402_300_799) | st.floats(-1e-3, 1e-3)


@given(moments=st.lists(st.tuples(_MOMENTS, _UNIX), min_size=1, max_size=20))
@_BUDGET
def test_any_time_stamp_survives(moments: list[tuple[datetime, float]], travel: Travel) -> None:
    entities = [
        b.entity(number, first_seen=moment.isoformat(), last_updated=moment.isoformat(" "))
        for number, (moment, _) in enumerate(moments, start=1)
    ]
    table = travel("corpus", "corpus_entities", entities)
    expected = [moment.astimezone(UTC) for moment, _ in moments]
    assert table.column("first_seen").to_pylist() == expected
    assert table.column("last_updated").to_pylist() == expected
    memories = [
        b.memory(number, embedding=None, created_at=seconds)
        for number, (_, seconds) in enumerate(moments, start=1)
    ]
    table = travel("semantic_memory", "semantic_memories", memories)
    assert table.column("created_at").cast(pa.int64()).to_pylist() == [
        round(Fraction(seconds) * 10**6) for _, seconds in moments
    ]


def test_utc_text_means_utc(travel: Travel) -> None:
    rows = [b.document(1, created_at="2025-12-20 08:00:00"), b.document(2, created_at=None)]
    table = travel("hybrid", "hybrid_documents", rows)
    assert table.column("created_at").to_pylist() == [datetime(2025, 12, 20, 8, tzinfo=UTC), None]


def test_sparse_weights_name_their_vocabulary(travel: Travel) -> None:
    stored = ['{"servo": 1}', '{"106340": 0.5}', "{}", "[]", None]
    rows = [b.document(n, sparse_vector=value) for n, value in enumerate(stored, start=1)]
    table = travel("hybrid", "hybrid_documents", rows)
    assert table.column("sparse_vocabulary").to_pylist() == [
        "words",
        "xlmr_token_ids",
        None,
        "unknown",
        None,
    ]


def test_a_file_of_the_older_layout_has_no_model(shared_engine: sa.Engine, tmp_path: Path) -> None:
    path = b.write_file(
        tmp_path / "data" / "archive.db", mixed.ARCHIVE_LAYOUT, embeddings=[b.embedding(1)]
    )
    b.consolidate(shared_engine, path)
    assert b.rows(
        shared_engine, "select model, doc_id from memos.embeddings where source = 'archive'"
    ) == [(None, "doc-1")]
