"""The checks of links and of the files themselves, and the worlds in which they fail."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.acknowledged import acknowledge, take_back
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import SourceError, UsageError
from memos_assets.finding import Finding
from memos_assets.proof.rows.checks import CHECKS
from memos_assets.proof.rows.sources import source_accounted_for, source_unchanged
from memos_assets.report.decisions import repairs
from memos_assets.report.tree import Repair
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b

V05 = "v05_links_lead_somewhere"


def semantic(engine: sa.Engine, folder: Path) -> Pin:
    """Three memories; 2 - 1 and 3 - 2 count both ways, 3 - 1 one way, 4 dangles."""
    return b.consolidate(
        engine,
        b.write_kind(
            folder / "data",
            "semantic_memory",
            memories=[b.memory(1), b.memory(2), b.memory(3)],
            connections=[
                b.connection(1, 2, 1),
                b.connection(2, 3, 2),
                b.connection(3, 3, 1, bidirectional=0),
                b.connection(4, 3, 9),
            ],
        ),
    )


def aggregated(engine: sa.Engine, folder: Path) -> Pin:
    return b.consolidate(
        engine,
        b.write_kind(
            folder / "data",
            "embedding_aggregator",
            domain_embeddings=[b.domain_embedding(1), b.domain_embedding(2)],
            entity_relations=[
                b.domain_relation(1, "entity-1", "entity-2"),
                b.domain_relation(2, "entity-1", "gone"),
            ],
        ),
    )


def broken(engine: sa.Engine, table: str, *statements: str) -> Finding:
    b.execute(engine, *statements)
    finding = b.findings(engine, table)[V05]
    assert finding.passed is False
    return finding


def test_links_are_sound_in_an_untouched_world(engine: sa.Engine, tmp_path: Path) -> None:
    assert b.red(engine, semantic(engine, tmp_path)) == {}
    finding = b.findings(engine, "semantic_links")[V05]
    assert finding.expected == "3 linked rows without an unnamed loose end"
    assert finding.observed == "none; 1 dangling in the rejects, 0 marked"
    assert finding.evidence["mirrored"] == 2
    assert b.red(engine, aggregated(engine, tmp_path)) == {}
    finding = b.findings(engine, "domain_relations")[V05]
    assert finding.observed == "none; 0 dangling in the rejects, 1 marked"


def test_v05_links_lead_somewhere_fails_when_an_end_is_deleted(
    engine: sa.Engine, tmp_path: Path
) -> None:
    semantic(engine, tmp_path)
    finding = broken(
        engine, "semantic_links", "delete from memos.semantic_memories where id = 'memory-1'"
    )
    assert finding.expected == "3 linked rows without an unnamed loose end"
    assert finding.observed == "3 faults; 1 dangling in the rejects, 0 marked"
    assert "semantic_memory: rowid 1 to_id 'memory-1' leads nowhere" in finding.evidence["faults"]


def test_v05_links_lead_somewhere_fails_when_a_link_is_bent(
    engine: sa.Engine, tmp_path: Path
) -> None:
    semantic(engine, tmp_path)
    finding = broken(
        engine,
        "semantic_links",
        "update memos.semantic_links set to_id = 'nowhere' where source_rowid = 3",
    )
    assert finding.evidence["faults"] == [
        "semantic_memory: rowid 3 to_id 'nowhere' leads nowhere",
    ]


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("delete from {} where reversed and source_rowid = 1", "1: the reversed link is missing"),
        (
            "delete from {} where not reversed and source_rowid = 1",
            "1: the forward link is missing",
        ),
        (
            "update {} set strength = 0.1 where reversed and source_rowid = 2",
            "2: the reversed link is missing or differs",
        ),
        (
            """update {} set metadata = '[]' where reversed and source_rowid = 2""",
            "2: the reversed link is missing or differs",
        ),
        (
            "update {} set bidirectional = false where source_rowid = 1",
            "1: reversed, though its flag says one way",
        ),
    ],
)
def test_v05_links_lead_somewhere_fails_when_a_mirrored_row_is_not_a_mirror(
    statement: str, fault: str, engine: sa.Engine, tmp_path: Path
) -> None:
    semantic(engine, tmp_path)
    finding = broken(engine, "semantic_links", statement.format("memos.semantic_links"))
    assert f"semantic_memory: rowid {fault}" in " ".join(finding.evidence["faults"])


def test_v05_links_lead_somewhere_fails_when_a_loose_end_is_not_marked(
    engine: sa.Engine, tmp_path: Path
) -> None:
    aggregated(engine, tmp_path)
    finding = broken(engine, "domain_relations", "update memos.domain_relations set missing = null")
    assert finding.evidence["faults"] == [
        "embedding_aggregator: rowid 2 target_entity_id 'gone' leads nowhere"
    ]


def test_v05_links_lead_somewhere_fails_when_an_end_that_exists_is_marked(
    engine: sa.Engine, tmp_path: Path
) -> None:
    aggregated(engine, tmp_path)
    finding = broken(
        engine,
        "domain_relations",
        "update memos.domain_relations set missing = '{target_entity_id}'",
    )
    assert finding.evidence["faults"] == [
        "embedding_aggregator: rowid 1 target_entity_id 'entity-2' is marked missing and exists"
    ]


def test_v05_links_lead_somewhere_fails_when_a_sound_link_is_called_dangling(
    engine: sa.Engine, tmp_path: Path
) -> None:
    semantic(engine, tmp_path)
    finding = broken(engine, "semantic_links", "update memos_ops.rejects set source_rowid = 1")
    assert (
        "semantic_memory: rowid 1 is rejected as dangling, and both its ends exist"
        in finding.evidence["faults"]
    )


def test_an_untouched_file_is_unchanged_and_accounted_for(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    unchanged, accounted = source_unchanged([pin]), source_accounted_for([pin])
    assert (unchanged.passed, unchanged.observed) == (True, "1 unchanged")
    assert (accounted.passed, accounted.observed) == (True, "0")


def test_v08_source_unchanged_since_pin_fails_after_a_write_to_the_original(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.change(pin.origin, "update memories set access_count = 5 where rowid = 1")
    finding = source_unchanged([pin])
    assert finding.passed is False
    assert finding.expected == "1 files as they were pinned"
    assert finding.observed == "semantic_memory: semantic_memory.db holds other rows than its pin"
    assert finding.evidence["files"] == [{"source": "semantic_memory", "pin": pin.digest[:16]}]


def test_v08_source_unchanged_since_pin_fails_when_the_original_is_gone(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    pin.origin.unlink()
    finding = source_unchanged([pin])
    assert finding.passed is False
    assert finding.observed.startswith("semantic_memory: cannot be read")


def test_v08_source_unchanged_since_pin_fails_when_the_original_is_another_kind(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.write_kind(tmp_path / "other", "meta_buffer").replace(pin.origin)
    assert source_unchanged([pin]).passed is False


@pytest.mark.parametrize(
    ("statements", "observed"),
    [
        (
            ["create table notes (text)", "insert into notes values (1), (2)"],
            "semantic_memory: table notes with 2 rows",
        ),
        (
            ["alter table memories add column mood text"],
            "semantic_memory: memories columns mood",
        ),
    ],
)
def test_v09_source_is_accounted_for_fails_when_something_is_left_behind(
    statements: list[str], observed: str, engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.change(pin.origin, *statements)
    finding = source_accounted_for([b.consolidate(engine, pin.origin)])
    assert finding.passed is False
    assert finding.expected == "0 tables or columns left behind"
    assert finding.observed == observed
    assert finding.evidence["left_behind"] == [observed]


def test_v09_source_is_accounted_for_fails_when_a_table_that_memos_never_writes_has_rows(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = b.write_kind(tmp_path / "data", "hybrid", index_stats=[{"stat_key": "a"}])
    finding = source_accounted_for([b.consolidate(engine, path)])
    assert finding.passed is False
    assert finding.observed == "bge_m3_hybrid: table index_stats with 1 rows"


def test_an_empty_extra_table_is_not_left_behind(engine: sa.Engine, tmp_path: Path) -> None:
    pin = semantic(engine, tmp_path)
    b.change(pin.origin, "create table notes (text)")
    assert source_accounted_for([b.consolidate(engine, pin.origin)]).passed


def test_checks_need_the_pinned_copy(engine: sa.Engine, tmp_path: Path) -> None:
    pin = semantic(engine, tmp_path)
    pin.path.unlink()
    with pytest.raises(SourceError, match=r"^M107 .*the source has no pinned copy"):
        b.findings(engine, "semantic_memories")


def v09(engine: sa.Engine, pin: Pin) -> Finding:
    (check,) = [one for one in CHECKS if one.number == 9]
    return check.judge(CheckContext(engine, MEMOS, Settings()), pin.kind)


def repairs_of(engine: sa.Engine) -> tuple[Repair, ...]:
    with engine.connect() as conn:
        return repairs(conn, MEMOS)


def test_what_somebody_acknowledged_is_left_behind_with_name_and_reason(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.change(
        pin.origin,
        "create table _litestream_seq (id integer primary key, seq integer)",
        "insert into _litestream_seq values (1, 7)",
        "alter table memories add column mood text",
        "alter table memories add column colour text",
    )
    pin = b.consolidate(engine, pin.origin)
    with engine.begin() as conn:
        source = registry.source_named(conn, MEMOS.kinds, pin.source)
        for name in ("_litestream_seq", "memories.mood"):
            acknowledge(conn, source, name, by="ada", reason="litestream's")
    finding = v09(engine, pin)
    assert finding.observed == "semantic_memory: memories columns colour, 2 acknowledged"
    first = finding.evidence["acknowledged"][0]
    assert first.startswith("semantic_memory: _litestream_seq, by ada")
    assert [(r.rule, r.table, r.note) for r in repairs_of(engine)] == [
        ("acknowledge", "_litestream_seq", "litestream's"),
        ("acknowledge", "memories.mood", "litestream's"),
    ]
    with engine.begin() as conn:
        acknowledge(conn, source, "memories.colour", by="ada", reason="unused")
    assert v09(engine, pin).passed
    with engine.begin() as conn:
        take_back(conn, pin.source, "_litestream_seq")
    assert v09(engine, pin).observed == (
        "semantic_memory: table _litestream_seq with 1 rows, 2 acknowledged"
    )


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("memories", "the catalog describes the table"),
        ("memories.content", "the catalog describes the column"),
        ("nothing", "no such table or column"),
        ("memories.nothing", "no such table or column"),
    ],
)
def test_only_what_is_in_the_file_and_not_in_the_catalog_is_acknowledged(
    name: str, what: str, engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    with engine.begin() as conn:
        source = registry.source_named(conn, MEMOS.kinds, pin.source)
        with pytest.raises(UsageError, match=f"^M558 .*{what}"):
            acknowledge(conn, source, name, by="ada", reason="why")
        with pytest.raises(UsageError, match=r"^M558 .*was acknowledged"):
            take_back(conn, pin.source, name)


def test_a_full_text_index_over_a_described_table_is_accounted_for(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.change(
        pin.origin,
        "create virtual table found using fts5(content, content='memories', content_rowid=rowid)",
        "insert into found(found) values ('rebuild')",
    )
    finding = source_accounted_for([b.consolidate(engine, pin.origin)])
    assert (finding.passed, len(finding.evidence["indexes"])) == (True, 4)
    b.change(
        pin.origin,
        "create virtual table own using fts5(text, tokenize='porter')",
        "insert into own values ('a text that is nowhere else')",
    )
    finding = source_accounted_for([b.consolidate(engine, pin.origin)])
    assert "semantic_memory: table own_content with 1 rows" in finding.evidence["left_behind"]


def test_v09_source_is_accounted_for_fails_whatever_the_pin_is_said_to_hold(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = semantic(engine, tmp_path)
    b.change(pin.origin, "create table notes (text)", "insert into notes values ('kept')")
    pin = b.consolidate(engine, pin.origin)
    statement = "update memos_ops.pins set rows = jsonb_set(rows, '{notes}', '0')"
    b.execute(engine, statement)
    assert v09(engine, pin).observed == "semantic_memory: table notes with 1 rows"
