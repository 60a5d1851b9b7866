"""V39 and V44 on a database as it should be, and turned red by each thing that they look for."""

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.finding import Finding
from memos_assets.memory.model_checks import one_model_per_table, outbox_is_young
from memos_assets.memory.models import current_model, ensure_registered
from memos_assets.memory.outbox import embed_waiting, enqueue_missing
from memos_assets.settings import Settings
from memos_assets_tests.memory.test_outbox import EMBEDDER, make_due, remember


@pytest.fixture
def embedded(engine: sa.Engine) -> sa.Engine:
    """Three memories with their embeddings."""
    remember(engine, "a pump", "a valve", "a motor")
    assert embed_waiting(engine, EMBEDDER).embedded == 3
    return engine


def v44(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return one_model_per_table(conn, "models")


def v39(engine: sa.Engine) -> Finding:
    return outbox_is_young(CheckContext(engine, MEMOS, Settings(outbox_minutes=10)), "outbox")


def test_v44_has_one_model_and_digest_per_table(engine: sa.Engine) -> None:
    assert v44(engine).passed
    ensure_registered(engine, EMBEDDER)
    remember(engine, "a pump")
    # Those that wait are not missing.
    assert v44(engine).passed
    make_due(engine)
    embed_waiting(engine, EMBEDDER)
    assert v44(engine).observed == "so it is for one (current)"


#: The key keeps rows in the space of their memory.
WITHOUT_KEY = "alter table {table} drop constraint embeddings_1_memory_fkey"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("delete from {table} where memory = 1", "1 memories neither have an embedding nor wait"),
        ("update agent.models set answer_digest = 'x'", "the digest of one is not that of its"),
        ("alter table {table} alter embedding type public.halfvec", "has halfvec, not halfvec(64)"),
        ("update agent.models set state = 'former'", "no model is current"),
        ("drop table {table}", "has no table, not halfvec(64)"),
        ("create table agent.embeddings_77 ()", "embeddings_77 is of no registered model"),
        (
            f"{WITHOUT_KEY}; update {{table}} set space_id = -1 where memory = 2",
            "1 in another space",
        ),
        (
            "update agent.memories set retracted_at = now() where number = 3",
            "1 that end at another",
        ),
        (
            "update {table} set embedding = (select array_fill(2, array[64])::public.halfvec)",
            "3 of a length other than 1",
        ),
    ],
)
def test_v44_one_model_per_table_fails_for_what_was_changed_by_hand(
    embedded: sa.Engine, statement: str, said: str
) -> None:
    with embedded.begin() as conn:
        model = current_model(conn)
        assert model is not None
        conn.execute(sa.text("set local search_path = pg_catalog, public"))
        # As a restore does, and a replica: foreign keys would refuse another space.
        conn.execute(sa.text("set local session_replication_role = replica"))
        conn.execute(sa.text(statement.format(table=model.table_name)))
    finding = v44(embedded)
    assert not finding.passed
    assert said in finding.observed


def test_missing_embeddings_are_made_again(embedded: sa.Engine) -> None:
    with embedded.begin() as conn:
        model = current_model(conn)
        assert model is not None
        conn.execute(model.table.delete().where(model.table.c.memory < 3))
    assert v44(embedded).evidence["missing"] == [1, 2]
    assert (enqueue_missing(embedded), enqueue_missing(embedded)) == (2, 0)
    assert embed_waiting(embedded, EMBEDDER).embedded == 2
    assert v44(embedded).passed


def test_v39_outbox_is_young_fails_where_a_memory_waits_for_too_long(engine: sa.Engine) -> None:
    assert v39(engine).observed == "none waits"
    remember(engine, "a pump", "a valve")
    assert v39(engine).passed
    with Session(engine) as session, session.begin():
        session.execute(
            sa.text(
                "update agent.outbox set waits_since = now() - interval '11 min' where memory = 1"
            )
        )
    finding = v39(engine)
    assert not finding.passed
    assert finding.observed.startswith("2 wait, the oldest for 11 minutes; most of them: M578: ")
    assert finding.evidence["waiting"] == 2
    make_due(engine)
    embed_waiting(engine, EMBEDDER)
    assert v39(engine).passed
