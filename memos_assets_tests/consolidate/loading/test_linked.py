"""Rows that link to rows: rejected with their end, marked where loose, mirrored where flagged."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets_tests.consolidate import builders as b


def links(engine: sa.Engine) -> list[tuple[object, ...]]:
    return b.rows(
        engine,
        "select source_rowid, from_id, to_id, reversed from memos.semantic_links order by 1, 4",
    )


def test_a_row_whose_end_is_missing_is_rejected(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "corpus",
            entities=[b.entity(1), b.entity(2)],
            relations=[b.relation(1, 1, 2), b.relation(2, 1, "gone"), b.relation(3, "gone", 2)],
        ),
    )
    assert b.rejects(engine, "corpus_relations") == [(2, "dangling_end"), (3, "dangling_end")]
    assert b.rows(engine, "select detail from memos_ops.rejects order by source_rowid") == [
        ("target_entity_id 'gone' does not exist",),
        ("source_entity_id 'gone' does not exist",),
    ]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize(
    "unloadable",
    [
        {"attributes": "{"},
        {"description": "a\0b"},
        {"id": b"entity-2"},
        {"first_seen": "yesterday"},
    ],
    ids=["json", "text", "key", "time"],
)
def test_a_row_whose_end_is_rejected_is_rejected_too(
    unloadable: dict[str, object], engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "corpus",
            entities=[b.entity(1), b.entity(2, **unloadable)],
            relations=[b.relation(1, 1, 1), b.relation(2, 1, 2)],
        ),
    )
    assert b.rejects(engine, "corpus_relations") == [(2, "dangling_end")]
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize("end", ["a\0b", "a\nb", "caf\u00e9", "k" * 2_590])
def test_an_end_that_is_rejected_for_its_own_name_is_understood(
    end: str, engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "corpus",
            entities=[b.entity(1), b.entity(2, id=end, attributes="{")],
            relations=[b.relation(1, 1, end)],
        ),
    )
    assert len(b.rejects(engine, "corpus_entities")) == 1
    assert len(b.rejects(engine, "corpus_relations")) == 1
    assert b.red(engine, pin) == {}


def test_an_end_whose_key_is_too_long_with_its_source_is_rejected_with_the_links_to_it(
    engine: sa.Engine, tmp_path: Path
) -> None:
    end = "k" * (2_601 - len("fanuc_robotics"))
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "corpus",
            entities=[b.entity(1), b.entity(2, id=end)],
            relations=[b.relation(1, 1, end)],
        ),
    )
    assert b.rejects(engine, "corpus_entities") == [(2, "key_too_long")]
    assert b.rejects(engine, "corpus_relations") == [(1, "dangling_end")]
    assert b.red(engine, pin) == {}


def test_a_null_key_among_the_ends_hides_nothing(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "corpus",
            entities=[b.entity(1), b.entity(2, id=None)],
            relations=[b.relation(1, 1, "gone"), b.relation(2, 1, 1)],
        ),
    )
    assert b.rejects(engine, "corpus_relations") == [(1, "dangling_end")]
    assert b.red(engine, pin) == {}


def test_a_link_that_dangles_once_its_end_is_deleted_is_rejected_on_the_next_run(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(
        tmp_path / "data",
        "semantic_memory",
        memories=[b.memory(1), b.memory(2), b.memory(3)],
        connections=[b.connection(1, 2, 1), b.connection(2, 3, 1)],
    )
    b.consolidate(engine, path)
    b.change(path, "delete from memories where rowid = 2")
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "semantic_links") == [(1, "dangling_end")]
    assert b.red(engine, pin) == {}
    b.change(path, "insert into memories select 'memory-2', 'x', '', '', null, 1, 0, 1")
    # Its attributes are not JSON, so it stays rejected, and its link with it.
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "semantic_links") == [(1, "dangling_end")]
    b.change(path, "update memories set attributes = '{}' where id = 'memory-2'")
    pin = b.consolidate(engine, path)
    assert b.rejects(engine, "semantic_links") == []
    assert b.red(engine, pin) == {}


def test_loose_ends_are_loaded_and_named(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "embedding_aggregator",
            domain_embeddings=[b.domain_embedding(1), b.domain_embedding(2)],
            entity_relations=[
                b.domain_relation(1, "entity-1", "entity-2"),
                b.domain_relation(2, "entity-1", "gone"),
                b.domain_relation(3, "lost", "gone"),
            ],
        ),
    )
    assert b.rows(engine, "select missing from memos.domain_relations order by source_rowid") == [
        (None,),
        (["target_entity_id"],),
        (["source_entity_id", "target_entity_id"],),
    ]
    assert b.red(engine, pin) == {}


def test_an_entity_that_is_rejected_in_one_domain_is_not_missing_in_another(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "embedding_aggregator",
            domain_embeddings=[
                b.domain_embedding(1),
                b.domain_embedding(2, "general", entity_id="entity-1", context="a\0b"),
            ],
            entity_relations=[b.domain_relation(1, "entity-1", "entity-1")],
        ),
    )
    assert b.rejects(engine, "domain_embeddings") == [(2, "nul_character")]
    assert b.rows(engine, "select missing from memos.domain_relations") == [(None,)]
    assert b.red(engine, pin) == {}


def test_a_parent_that_is_gone_or_rejected_is_named(engine: sa.Engine, tmp_path: Path) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "hyperbolic_embeddings",
            hyperbolic_documents=[
                b.node(1),
                b.node(2, "node-1"),
                b.node(3, "gone"),
                b.node(4, content="a\0b"),
                b.node(5, "node-4"),
                b.node(6, "node-6"),
            ],
        ),
    )
    assert b.rows(
        engine, "select source_rowid, missing from memos.hyperbolic_documents order by 1"
    ) == [(1, None), (2, None), (3, ["parent_id"]), (5, ["parent_id"]), (6, None)]
    assert b.red(engine, pin) == {}


def test_only_flagged_links_between_two_memories_are_mirrored(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "semantic_memory",
            memories=[b.memory(1), b.memory(2), b.memory(3)],
            connections=[
                b.connection(1, 2, 1),
                b.connection(2, 3, 1, bidirectional=0),
                b.connection(3, 3, 2, bidirectional=None),
                b.connection(4, 3, 3),
                b.connection(5, 1, 2),
                b.connection(6, 1, 3, strength="strong"),
            ],
        ),
    )
    one, two, three = "memory-1", "memory-2", "memory-3"
    assert links(engine) == [
        (1, two, one, False),
        (1, one, two, True),
        (2, three, one, False),
        (3, three, two, False),
        (4, three, three, False),
        (5, one, two, False),
        (5, two, one, True),
    ]
    assert b.rejects(engine, "semantic_links") == [(6, "wrong_type")]
    assert b.rows(
        engine, "select rows, mirrored from memos_ops.chunks where table_name = 'semantic_links'"
    ) == [(5, 2)]
    assert b.red(engine, pin) == {}
