"""The seed of a user's network from memOS's consolidated one."""

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import network, seed_links
from memos_assets.memory import seed as seeding
from memos_assets.memory.acting import act_as
from memos_assets.memory.erase import erase_rows
from memos_assets.memory.explicit_links import connect, disconnect
from memos_assets.memory.normalised_text import content_digest
from memos_assets.memory.seed import Seeded, seed
from memos_assets.memory.seed_checks import seeds_are_what_was_consolidated
from memos_assets.memory.seed_originals import seeded_id
from memos_assets.postgres.advisory_locks import MODELS
from memos_assets_tests.consolidate import builders as b
from memos_assets_tests.memory import graphs as g

SOURCE = "semantic_memory"


def consolidated(engine: sa.Engine, folder: Path, rows: Any, edges: Any = ()) -> None:
    b.consolidate(
        engine, b.write_kind(folder / "data", "semantic_memory", memories=rows, connections=edges)
    )


def the_id(number: int, user: str = "u1") -> str:
    return str(seeded_id(SOURCE, user, f"memory-{number}"))


def ways(session: Session, memory: str) -> dict[tuple[str, str], str]:
    found = network.get_connected(session, memory)
    return {(one.memory.id, one.type): one.way for one in found}


def test_the_model_cannot_be_exchanged_while_a_seed_writes_its_embeddings(
    small: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    free: list[bool] = []
    counted = seeding._count_accesses

    def look(*given: Any) -> None:
        with small.connect() as conn:
            free.append(bool(conn.scalar(sa.select(MODELS.tried_within_transaction()))))
        counted(*given)

    monkeypatch.setattr(seeding, "_count_accesses", look)
    seed(small, "u1")
    assert free == [False]


@pytest.fixture
def small(engine: sa.Engine, tmp_path: Path) -> sa.Engine:
    """Eight memories, of which two are equal, one is blank and two share their start."""
    rows = [
        b.memory(1, attributes='{"error_code": "A-1", "confidence": 0.7}', access_count=3),
        b.memory(2, memory_type="finding"),
        b.memory(3, content="Remembered  2"),
        b.memory(4, content=" "),
        b.memory(5, content="s" * 600),
        b.memory(6, content="s" * 600 + "!"),
        b.memory(7, embedding=None, attributes="[1]"),
        b.memory(8, content="long " * 300),
    ]
    edges = [
        b.connection(1, 2, 1),
        b.connection(2, 1, 2, strength=0.8),
        b.connection(3, 3, 1, strength=0.9),
        b.connection(4, 3, 2),
        b.connection(5, 5, 1, connection_type="supports", bidirectional=0),
        b.connection(6, 6, 1, connection_type="supports"),
        b.connection(7, 7, 4, connection_type="related"),
    ]
    consolidated(engine, tmp_path, rows, edges)
    return engine


def test_a_network_is_seeded_with_its_ids_times_attributes_accesses_and_links(
    small: sa.Engine,
) -> None:
    with Session(small) as session, session.begin():
        g.add_model(session, "mxbai-embed-large", dimension=1_024)
    (seeded,) = seed(small, "u1")
    assert seeded == Seeded(
        SOURCE,
        6,
        {
            "memories": 7,
            "duplicates": 1,
            "without_text": 1,
            "too_long": 0,
            "embedded": 2,
            "links": 3,
            "dangling": 1,
            "loops": 1,
            "joined": 2,
        },
    )
    with Session(small) as session:
        act_as(session, user="u1")
        one = network.get(session, the_id(1))
        assert (one.kind, one.content, one.state) == ("entity", "remembered 1", "current")
        assert (one.attributes["error_code"], one.confidence) == ("A-1", 0.7)
        assert (one.source, one.accesses) == (f"memos:{SOURCE}", 4)
        assert one.recorded_at.timestamp() == 1767139200.5
        assert network.get(session, the_id(7)).attributes == {"value": [1]}
        # The two equal texts are one memory, and edges of both are links of it, with the greatest
        # weight, seen from both ends.
        assert ways(session, the_id(1)) == {
            (the_id(2), "semantic"): "none",
            (the_id(5), "supports"): "in",
            (the_id(6), "supports"): "both",
        }
        assert ways(session, the_id(2)) == {(the_id(1), "semantic"): "none"}
        assert [link.weight for link in network.get_connected(session, the_id(2))] == [0.9]
        with pytest.raises(AgentError, match="M705"):
            network.get(session, the_id(3))
    waiting = b.rows(
        small,
        "select m.content from agent.outbox o join agent.memories m on m.number = o.memory "
        "where o.last_error like 'M724 %' order by m.number",
    )
    # Of texts that share their first 500 characters memOS gives both the embedding of one of them,
    # and of a long text it embeds the first 1,000 characters.
    assert [text[:4] for (text,) in waiting] == ["ssss", "ssss", "reme", "long"]
    assert b.rows(small, "select action, count(*) from agent.revisions group by 1") == [
        ("remember", 6)
    ]
    assert b.rows(
        small,
        "select sum(memories), sum(words) = (select sum(count) from agent.postings) "
        "from agent.word_counts",
    ) == [(6, True)]


def everything(engine: sa.Engine) -> Mapping[str, Any]:
    tables = ("memories", "links", "accesses", "revisions", "postings", "seed_ids", "outbox")
    return {
        name: b.rows(engine, f"select t::text from agent.{name} t order by 1") for name in tables
    }


def test_a_second_seed_changes_nothing_and_brings_nothing_back(small: sa.Engine) -> None:
    first = seed(small, "u1", SOURCE)
    with Session(small) as session, session.begin():
        act_as(session, user="u1")
        assert disconnect(session, the_id(1), the_id(2)) == 1
        connect(session, the_id(5), the_id(6), "related")
        network.boost(session, the_id(5), 1)
    before = everything(small)
    again = seed(small, "u1", SOURCE)
    assert [(one.new, one.counts) for one in again] == [(0, first[0].counts)]
    assert everything(small) == before


def test_a_seed_that_was_killed_goes_on_and_ends_as_one_that_was_not(
    small: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seeding, "CHUNK", 2)
    real, calls = seed_links.link_seeded, Counter[str]()

    def killed(*arguments: Any) -> None:
        calls["chunks"] += 1
        if calls["chunks"] == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(seeding, "link_seeded", killed)
    with pytest.raises(KeyboardInterrupt):
        seed(small, "u1")
    assert b.rows(small, "select count(*) from agent.seed_ids") == [(4,)]
    assert b.rows(small, "select finished_at from agent.seeds") == [(None,)]
    resumed = seed(small, "u1")
    assert (resumed[0].new, resumed[0].counts["memories"], resumed[0].counts["links"]) == (3, 7, 3)
    monkeypatch.undo()
    seed(small, "u2")
    both = "select a.content, b.content, l.type, l.weight from agent.links l join agent.memories a "
    both += "on a.number = l.a join agent.memories b on b.number = l.b where a.user_id = :user "
    linked = [b.rows(small, both + "order by 1, 2, 3", user=user) for user in ("u1", "u2")]
    assert linked[0] == linked[1]
    assert len(linked[0]) == 3


def test_a_text_that_the_users_agents_remembered_is_not_remembered_twice(
    small: sa.Engine,
) -> None:
    with Session(small) as session, session.begin():
        space = act_as(session, user="u1").private
        (mine,) = g.add_memories(
            session,
            space,
            ["remembered 1"],
            content_digest=content_digest("remembered 1", None, None),
        )
        own = str(g.id_of(session, mine))
    (seeded,) = seed(small, "u1")
    assert (seeded.new, seeded.counts["duplicates"]) == (5, 2)
    with Session(small) as session:
        act_as(session, user="u1")
        assert ways(session, own).keys() == {
            (the_id(2), "semantic"),
            (the_id(5), "supports"),
            (the_id(6), "supports"),
        }


def test_memories_that_were_consolidated_since_are_added_with_their_links(
    small: sa.Engine,
) -> None:
    seed(small, "u1")
    b.execute(
        small,
        "insert into memos.semantic_memories (source, id, memory_type, content, embedding_reason, "
        f"chunk, source_rowid) values ('{SOURCE}', 'memory-9', 'hunch', 'new', 'missing', 0, 9)",
        "insert into memos.semantic_links (source, from_id, to_id, connection_type, strength, "
        "bidirectional, reversed, chunk, source_rowid) values "
        f"('{SOURCE}', 'memory-9', 'memory-1', 'likes', null, null, false, 0, 9)",
    )
    (seeded,) = seed(small, "u1")
    assert (seeded.new, seeded.counts["links"]) == (1, 4)
    with Session(small) as session:
        act_as(session, user="u1")
        assert ways(session, the_id(9)) == {(the_id(1), "related"): "none"}
        assert network.get(session, the_id(9)).kind == "finding"


def test_an_unknown_source_is_refused_and_no_user_gets_nothing(engine: sa.Engine) -> None:
    with pytest.raises(AgentError, match=r"M720.*sources: none"):
        seed(engine, "u1", "nowhere")
    assert seed(engine, "u1") == []


def test_the_seed_of_the_samples_is_proven_by_counts(
    engine: sa.Engine, samples: Path, tmp_path: Path
) -> None:
    shutil.copy(samples / "semantic_memory.db", tmp_path)
    b.consolidate(engine, tmp_path / "semantic_memory.db")
    (seeded,) = seed(engine, "u1")
    (rows,) = b.rows(engine, "select count(*) from memos.semantic_memories")
    (edges,) = b.rows(engine, "select count(*) from memos.semantic_links where not reversed")
    counts = seeded.counts
    assert counts["memories"] + counts["without_text"] == rows[0]
    assert counts["memories"] - counts["duplicates"] == seeded.new
    assert counts["links"] + counts["joined"] + counts["loops"] + counts["dangling"] == edges[0]
    assert counts["memories"] > 50
    assert counts["links"] > 20


def test_an_erasure_takes_the_seed_of_a_user_and_leaves_that_of_others(small: sa.Engine) -> None:
    seed(small, "u1")
    seed(small, "u2")
    with small.begin() as conn:
        erase_rows(conn, "u1", erased_by="tests")
    tables = ("seeds", "seed_ids", "memories", "links")
    counts = [b.rows(small, f"select count(*) from agent.{name}")[0][0] for name in tables]
    assert counts == [1, 7, 6, 3]
    with small.connect() as conn:
        assert seeds_are_what_was_consolidated(conn, "").passed
