"""A campaign of one kill on the small scale, its table, and a judge that sees what is wrong."""

import random
from collections.abc import Iterator

import pytest

from bench.world import opened_world
from faults import judge as court
from faults.campaign import Campaign
from faults.kills import random_moments
from faults.phases import PHASES
from faults.table import last_line, sheet_of
from memos_assets.postgres.server.embedded import DATABASE


@pytest.fixture(scope="module")
def campaign() -> Iterator[Campaign]:
    with opened_world("small") as world:
        world.empty()
        made = Campaign(world, "small", seed=5)
        made.run(1)
        yield made


def test_a_killed_consolidation_is_resumed_and_checked(campaign: Campaign) -> None:
    assert campaign.faults == []
    (kill,) = campaign.kills
    assert (kill.outcome.victim, kill.outcome.code) == ("worker", -9)
    assert (kill.again, kill.half, kill.lost, kill.doubled, kill.changed) == (0, 0, 0, 0, 0)
    assert kill.ledger == kill.saved
    assert kill.saved + kill.copied == campaign.chunks > 0
    assert last_line(campaign) == f"1 kills: 0 lost, 0 doubled, {kill.saved} chunks saved"
    table = sheet_of(campaign).markdown()
    assert f"| {kill.outcome.phase} " in table
    assert "Seed 5." in table


@pytest.mark.parametrize(
    ("statement", "fault", "counted"),
    [
        pytest.param(
            "delete from memos.thought_templates where source_rowid = "
            "(select min(source_rowid) from memos.thought_templates)",
            "lost: memos.thought_templates of meta_buffer: ",
            "lost",
            id="a row is gone",
        ),
        pytest.param(
            "insert into memos_ops.rejects select (jsonb_populate_record(r, jsonb_build_object("
            "'table_name', 'hyperbolic_documents', 'source', 'hyperbolic_embeddings', "
            "'source_rowid', (select min(source_rowid) from memos.hyperbolic_documents)))).* "
            "from memos_ops.rejects r limit 1",
            "doubled: memos.hyperbolic_documents of hyperbolic_embeddings: ",
            "doubled",
            id="a row is loaded and rejected",
        ),
        pytest.param(
            "update memos.corpora set domain_id = 'other' where source = 'raspberry_pi'",
            "another key: memos.corpora of raspberry_pi: ",
            "changed",
            id="a key is another",
        ),
        pytest.param(
            "update memos.semantic_memories set embedding = (select embedding from "
            "memos.semantic_memories where embedding is not null and source_rowid <> 1 "
            "and dimension = 1024 limit 1) where source_rowid = (select max(source_rowid) from "
            "memos.semantic_memories where dimension = 1024)",
            "another vector: memos.semantic_memories of semantic_memory: ",
            "changed",
            id="a vector is another",
        ),
        pytest.param(
            "delete from memos.semantic_links where reversed and source_rowid = "
            "(select min(source_rowid) from memos.semantic_links where reversed)",
            "without its reverse: memos.semantic_links: ",
            "lost",
            id="a reversed link is gone",
        ),
        pytest.param(
            "update memos.corpus_relations set source = 'elsewhere' where source = 'imm_robotics'",
            "of no source: memos.corpus_relations: ",
            "doubled",
            id="rows of a source that is none",
        ),
    ],
)
def test_the_judge_sees_it_when(
    statement: str, fault: str, counted: str, campaign: Campaign
) -> None:
    with campaign.world.administrator(DATABASE) as conn:
        assert conn.execute(statement).rowcount > 0
    verdict = court.judge(campaign.world)
    assert any(named.startswith(fault) for named in verdict.named), verdict.named
    assert getattr(verdict, counted) > 0


def test_the_bookkeeping_tables_show_a_chunk_that_is_half_loaded(campaign: Campaign) -> None:
    place = ("mixed_precision_embeddings", "embedding_anchors", 0)
    assert place not in court.read_ledger(campaign.world).half
    with campaign.world.administrator(DATABASE) as conn:
        conn.execute("delete from memos.embedding_anchors where source = %s", place[:1])
    assert place in court.read_ledger(campaign.world).half


def test_remains_of_killed_runs_are_named(campaign: Campaign) -> None:
    world = campaign.world
    assert court.left_behind(world) == []
    (world.home / "pins" / ".a-1.part").touch()
    (world.home / "crash-1.txt").touch()
    with world.administrator(DATABASE) as conn:
        conn.execute("update dagster.runs set status = 'STARTED' where id = 1")
        conn.execute("update dagster.concurrency_slots set run_id = 'r' where id = 1")
    named = [fault.partition(":")[0] for fault in court.left_behind(world)]
    assert named == [
        "unfinished pin",
        "crash",
        "unfinished run",
        "slot of a run that is gone",
    ]


def test_moments_follow_the_work_and_the_same_seed_gives_the_same() -> None:
    first, again = (random_moments(random.Random(3), "plan", 40) for _ in range(2))
    assert first == again
    assert [PHASES.index(m.phase) for m in first] == sorted(PHASES.index(m.phase) for m in first)
    assert {moment.phase for moment in first} == set(PHASES)
    assert all(moment.seconds >= 0 for moment in first)
