"""V27: whatever is changed in the ledger is named, and a ledger that a load wrote is right."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import chunk_task
from memos_assets.consolidate.loading.ledger import record_chunk
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets_tests.consolidate import builders as b

V27 = "v27_ledger_recomputes"
LINKS = "semantic_links"
PLACE = "semantic_memory/000: "
CHUNKS = "update memos_ops.chunks set {} where table_name = 'semantic_links' and chunk = 0"


@pytest.fixture
def pin(engine: sa.Engine, tmp_path: Path) -> Pin:
    """Memories of two chunks and links between them; one memory and one link are rejects."""
    return b.consolidate(
        engine,
        b.write_kind(
            tmp_path / "data",
            "semantic_memory",
            memories=[b.memory(1), b.memory(2), b.memory(3, attributes="{"), b.memory(2_050)],
            connections=[
                b.connection(1, 1, 2),
                b.connection(2, 2, 3),
                b.connection(3, 2, 1, bidirectional=0),
            ],
        ),
    )


def ledger(engine: sa.Engine, table: str = LINKS) -> Finding:
    return b.findings(engine, table)[V27]


def test_a_ledger_that_a_load_wrote_is_computed_again(engine: sa.Engine, pin: Pin) -> None:
    assert (ledger(engine).expected, ledger(engine).observed) == (
        "1 chunks as the files, the rows and the rejects give them",
        "1 of them",
    )
    assert ledger(engine, "semantic_memories").observed == "2 of them"
    assert b.red(engine, pin) == {}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("digest = md5(digest)", "digest is "),
        ("rows = rows + 1, rejected = rejected - 1", "rows is 3, not 2"),
        ("rejected = 0, source_rows = 2", "source_rows is 2, not 3"),
        ("source_bytes = source_bytes + 1", "source_bytes is "),
        ("mirrored = 0", "mirrored is 0, not 1"),
        ("chunk_rows = 4096", "chunk_rows is 4096, not 2048"),
        ("""without_embedding = '{"embedding: zero": 1}'""", "without_embedding is "),
        ("""repaired = '{"null_end": 1}'""", "repaired is {'null_end': 1}, not {}"),
        ("""rules = '{"dangling_end": "drop"}'""", "rules is {'dangling_end': 'drop'}, not "),
        ("rules = '{}'", "rules is {}, not {'dangling_end': None}"),
        ("code_version = 'abcdefabcdef'", "code_version abcdefabcdef is of no version"),
        ("pin_digest = md5(pin_digest)", "is of no pin of the source"),
        ("loaded_at = now() + interval '1 hour'", "is in the future"),
        ("loaded_at = now() - interval '1 hour'", "is before its source was registered"),
    ],
)
def test_v27_ledger_recomputes_fails_when_a_column_is_changed(
    engine: sa.Engine, pin: Pin, change: str, fault: str
) -> None:
    b.execute(engine, CHUNKS.format(change.replace(":", r"\:")))
    finding = ledger(engine)
    assert not finding.passed, pin
    assert any(line.startswith(PLACE) and fault in line for line in finding.evidence["faults"])


def test_v27_ledger_recomputes_fails_when_a_source_is_not_registered(
    engine: sa.Engine, pin: Pin
) -> None:
    b.execute(engine, CHUNKS.format("source = 'elsewhere'"))
    faults = ledger(engine).evidence["faults"]
    assert faults == ["elsewhere: is in the ledger and not registered"], pin


def test_what_somebody_decided_since_the_load_is_said_and_no_fault(
    engine: sa.Engine, pin: Pin
) -> None:
    b.execute(
        engine,
        "insert into memos_ops.repairs (source, table_name, reason, rule, decided_by) "
        "values ('semantic_memory', 'semantic_memories', 'json_malformed', 'null_json', 'me')",
    )
    assert ledger(engine).observed == "1 of them, 1 decided on since they were loaded"
    assert ledger(engine).passed
    assert b.load_stale(engine, pin)
    assert ledger(engine).observed == "1 of them"


def test_chunks_of_a_former_decoder_are_said_and_no_fault(engine: sa.Engine, pin: Pin) -> None:
    spec = MEMOS.table(LINKS)
    former = min(spec.former_fingerprints)
    assert former != spec.fingerprint
    b.execute(engine, CHUNKS.format(f"code_version = '{former}'"))
    assert ledger(engine).passed, pin
    assert ledger(engine).observed == "1 of them, 1 of a former decoder"


def test_a_chunk_is_loaded_when_its_rows_are_there_and_not_when_the_load_began(
    engine: sa.Engine, pin: Pin
) -> None:
    """A proof that began while the rows were copied read the former ones."""
    with engine.begin() as conn:
        began = conn.execute(sa.text("select now(), pg_sleep(0.05)")).scalar_one()
        spec = MEMOS.table(LINKS)
        entry = conn.execute(
            sa.text("select * from memos_ops.chunks where table_name = :table"), {"table": LINKS}
        ).one()
        counts = {
            name: getattr(entry, name)
            for name in ("rows", "rejected", "mirrored", "without_embedding", "repaired", "rules")
        }
        record_chunk(conn, spec, chunk_task(pin, spec, 0), counts, "again")
        loaded = conn.execute(
            sa.text("select loaded_at from memos_ops.chunks where run_id = 'again'")
        ).scalar_one()
    assert (loaded - began).total_seconds() >= 0.05
