"""A column whose bytes contradict the catalog: the file is refused until a declaration says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.sources.encodings import LEAST_ODD_ROWS
from memos_assets.consolidate.sources.pins import take_pin
from memos_assets.errors import CodecError, UsageError
from memos_assets.settings import Settings, load_settings
from memos_assets_tests.consolidate import builders as b

Number = Callable[[int], Any]


def float64(number: int, dim: int = 768) -> bytes:
    return b.vector(number, dim).astype("<f8").tobytes()


def listed(number: int, dim: int = 768) -> str:
    return json.dumps(b.vector(number, dim).tolist())


def entities(folder: Path, embedding: Number, *, odd: int = 9, rows: int = 10) -> Path:
    return b.write_kind(
        folder,
        "corpus",
        entities=[
            b.entity(number, **({"embedding": embedding(number)} if number <= odd else {}))
            for number in range(1, rows + 1)
        ],
    )


def refused(path: Path) -> str:
    file = b.only(path)
    assert file.treatment == "unusable"
    assert isinstance(file.error, CodecError)
    return str(file.error)


@pytest.mark.parametrize(
    ("embedding", "seen", "fix"),
    [
        (
            lambda n: b.float16(n),
            "`entities.embedding` holds float16 of 768 in 9 of 10 rows (1,536 bytes)",
            "if it is, declare it: MEMOS_ENCODINGS=fanuc_robotics.entities.embedding=float16",
        ),
        (
            lambda n: float64(n),
            "`entities.embedding` holds float64 of 768 in 9 of 10 rows (6,144 bytes)",
            "vector cannot hold it exactly: describe it and its column type as corpus_entities.",
        ),
        (
            lambda n: b.float16(n, 4_096),
            "`entities.embedding` holds float16 of 4,096 or float64 of 1,024 in 9 of 10 rows",
            "declare it: MEMOS_ENCODINGS=fanuc_robotics.entities.embedding=float16",
        ),
        (
            lambda n: listed(n).encode(),
            "`entities.embedding` holds JSON text in 9 of 10 rows",
            "declare it: MEMOS_ENCODINGS=fanuc_robotics.entities.embedding=json_text",
        ),
        (
            lambda n: b"\x01" + b.float32(n),
            "`entities.embedding` holds an unknown encoding in 9 of 10 rows (3,073 bytes)",
            "describe the encoding or the dimension as corpus_entities.embedding",
        ),
        (
            lambda n: b.float32(n, 512),
            "`entities.embedding` holds float16 of 1,024 in 9 of 10 rows (2,048 bytes)",
            "if it is, declare it: ",
        ),
        (
            lambda n: b.float32(n, 500),
            "`entities.embedding` holds an unknown encoding in 9 of 10 rows (2,000 bytes)",
            "describe the encoding or the dimension as corpus_entities.embedding",
        ),
        (lambda n: n, "`entities.embedding` holds INTEGER in 9 of 10 rows", "describe"),
    ],
    ids=[
        "float16",
        "float64",
        "ambiguous",
        "json",
        "header",
        "half_the_bytes",
        "dimension",
        "integer",
    ],
)
def test_a_file_whose_embeddings_are_something_else_is_refused_with_what_was_seen(
    embedding: Number, seen: str, fix: str, tmp_path: Path
) -> None:
    message = refused(entities(tmp_path / "data", embedding))
    assert message.startswith(f"M201 {tmp_path}/data/fanuc_robotics.db: {seen}")
    assert "expected float32 of 768, 1,024, 2,560 or 4,096 elements" in message
    assert fix in message.partition("Fix: ")[2]


def test_the_refusal_says_how_many_elements_the_expected_encoding_would_be(tmp_path: Path) -> None:
    message = refused(entities(tmp_path / "data", b.float16))
    assert "expected float32 of 768, 1,024, 2,560 or 4,096 elements, this would be 384." in message


def test_a_float32_column_where_the_row_states_the_dimension_is_refused(tmp_path: Path) -> None:
    rows = [b.embedding(n, fp16_data=b.float32(n)) for n in range(1, 7)]
    path = b.write_kind(tmp_path / "data", "mixed_precision_embeddings", embeddings=rows)
    assert (
        "`embeddings.fp16_data` holds float32 in 6 of 6 rows (3,072 bytes for dimension 768); "
        "expected float16, 1,536 bytes. Fix: halfvec cannot hold it exactly"
    ) in refused(path)


@pytest.mark.parametrize(
    ("kind", "table", "make", "column"),
    [
        ("semantic_memory", "memories", b.memory, "embedding"),
        ("meta_buffer", "templates", b.template, "query_embedding"),
    ],
)
def test_a_binary_column_where_json_is_expected_is_refused(
    kind: str, table: str, make: Callable[..., dict[str, Any]], column: str, tmp_path: Path
) -> None:
    rows = [make(n, **{column: b.float32(n)}) for n in range(1, 8)]
    message = refused(b.write_kind(tmp_path / "data", kind, **{table: rows}))
    assert f"`{table}.{column}` holds float32 of 768 in 7 of 7 rows (3,072 bytes)" in message
    assert "expected a JSON array of numbers. Fix: if it is, declare it: " in message


def test_a_few_odd_rows_are_loaded_without_an_embedding(engine: sa.Engine, tmp_path: Path) -> None:
    path = entities(tmp_path / "data", b.float16, odd=5)
    pin = b.consolidate(engine, path)
    assert b.rows(
        engine,
        "select embedding_reason, count(*) from memos.corpus_entities group by 1 order by 1",
    ) == [("unknown_dimension", 5), (None, 5)]
    # Half of a column is too much to be left unsaid.
    assert set(b.red(engine, pin)) == {("corpus_entities", "v30_no_reading_takes_much_of_a_table")}


@pytest.mark.parametrize("nothing", [None, b""], ids=["null", "empty"])
def test_rows_without_an_embedding_are_not_evidence(nothing: bytes | None, tmp_path: Path) -> None:
    assert b.only(entities(tmp_path / "data", lambda _: nothing)).treatment == "consolidate"


def test_so_few_rows_that_they_may_be_accidents_are_not_evidence(tmp_path: Path) -> None:
    rows = LEAST_ODD_ROWS - 1
    path = entities(tmp_path / "data", b.float16, odd=rows, rows=rows)
    assert b.only(path).treatment == "consolidate"


def test_a_file_that_changed_its_encoding_since_it_was_found_is_not_pinned(tmp_path: Path) -> None:
    file = b.only(entities(tmp_path / "data", b.float32))
    assert file.kind is not None
    for number in range(1, 11):
        b.change(
            file.path,
            f"update entities set embedding = ? where rowid = {number}",
            parameters=[b.float16(number)],
        )
    with pytest.raises(CodecError, match=r"^M201 .*float16 of 768 in 10 of 10 rows"):
        take_pin(file.source, file.kind, file.path, tmp_path / "pins")


@pytest.mark.parametrize(
    ("encoding", "embedding"),
    [("float16", b.float16), ("json_text", listed), ("json_blob", lambda n: listed(n).encode())],
)
def test_a_declared_encoding_is_loaded_and_proven(
    encoding: str,
    embedding: Number,
    engine: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", f"fanuc_robotics.entities.embedding={encoding}")
    pin = b.consolidate(engine, entities(tmp_path / "data", embedding, odd=10))
    assert b.red(engine, pin) == {}
    stored = b.rows(engine, "select embedding from memos.corpus_entities order by source_rowid")
    for number, (value,) in enumerate(stored, start=1):
        wanted = b.vector(number)
        if encoding == "float16":
            wanted = wanted.astype("<f2").astype("<f4")
        assert json.loads(value) == pytest.approx(wanted.tolist(), rel=1e-6)


def test_another_declaration_makes_the_chunks_stale(
    engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = entities(tmp_path / "data", b.float16, odd=4)
    pin = b.consolidate(engine, path)
    assert b.stale_chunks(engine, pin, "corpus_entities") == []
    monkeypatch.setenv("MEMOS_ENCODINGS", "other.entities.embedding=float16")
    assert b.stale_chunks(engine, pin, "corpus_entities") == []
    monkeypatch.setenv("MEMOS_ENCODINGS", "fanuc_robotics.entities.embedding=float16")
    assert b.load_stale(engine, pin) == {"corpus_entities": [0]}
    assert b.rows(
        engine,
        "select embedding_reason, count(*) from memos.corpus_entities group by 1 order by 1",
    ) == [("unknown_dimension", 6), (None, 4)]
    assert b.red(engine, pin) == {}
    monkeypatch.delenv("MEMOS_ENCODINGS")
    assert b.load_stale(engine, pin) == {"corpus_entities": [0]}
    assert b.red(engine, pin) == {}


def test_a_declaration_that_the_bytes_contradict_is_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = entities(tmp_path / "data", b.float32)
    monkeypatch.setenv("MEMOS_ENCODINGS", "fanuc_robotics.entities.embedding=float16")
    message = refused(path)
    assert "holds float32 of 768 in 10 of 10 rows" in message
    assert "expected float16 of 768" in message


def test_an_encoding_that_the_column_would_round_cannot_be_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", "mixed_precision_embeddings.embeddings.fp16_data=float32")
    path = b.write_kind(
        tmp_path / "data", "mixed_precision_embeddings", embeddings=[b.embedding(1)]
    )
    with pytest.raises(UsageError, match=r"^M528 .*halfvec column stores exactly.*Fix: .*float16"):
        b.only(path)


def test_a_declaration_for_a_column_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", "fanuc_robotics.entities.vector=float16")
    with pytest.raises(UsageError, match=r"^M528 .*no such.*Fix: name one of .*entities.embedding"):
        b.only(entities(tmp_path / "data", b.float32))


@pytest.mark.parametrize("value", ["entities.embedding=float16", "a.b.c=float64", "a.b.c"])
def test_a_declaration_that_does_not_parse_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", value)
    with pytest.raises(UsageError, match=r"^M501 MEMOS_ENCODINGS"):
        load_settings()


def test_declarations_are_separated_by_colons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMOS_ENCODINGS", "a.b.c=float16:d.e.f=json_text")
    assert Settings().encodings == ("a.b.c=float16", "d.e.f=json_text")
