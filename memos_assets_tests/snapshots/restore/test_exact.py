"""An exact restore: the rows of then, with everything that the catalog wants, or nothing at all."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres.row_security import wall_faults
from memos_assets.snapshots.restore.exact import exact
from memos_assets_tests.snapshots.restore.conftest import Agents

#: Everything about the tables of agents but their numbers.
_CATALOG = """
select 'index', concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid) from pg_index i
    join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'agent'::regnamespace
union all select 'constraint', concat_ws(' ', conrelid::regclass, conname,
    pg_get_constraintdef(oid), convalidated)
    from pg_constraint where connamespace = 'agent'::regnamespace
union all select 'policy', concat_ws(' ', tablename, policyname, cmd, roles, qual, with_check)
    from pg_policies where schemaname = 'agent'
union all select 'table', concat_ws(' ', relname, array(
        select a::text from unnest(relacl) a order by 1), relowner, relrowsecurity,
        relforcerowsecurity, reloptions, relpersistence::text, relkind::text)
    from pg_class where relnamespace = 'agent'::regnamespace and relkind <> 'i'
union all select 'column', concat_ws(' ', attrelid::regclass, attname,
        format_type(atttypid, atttypmod), attnotnull, attidentity::text, attstorage::text, attnum,
        pg_get_expr(d.adbin, d.adrelid), col_description(attrelid, attnum))
    from pg_attribute a join pg_class c on c.oid = attrelid
    left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
    where relnamespace = 'agent'::regnamespace and attnum > 0 and relkind = 'r'
union all select 'comment', concat_ws(' ', relname, obj_description(oid, 'pg_class'))
    from pg_class where relnamespace = 'agent'::regnamespace and relkind = 'r'
order by 1, 2
"""


def catalog(engine: sa.Engine) -> Sequence[tuple[str, str]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(_CATALOG).all()]


def test_restore_is_the_first_snapshot_again_with_its_catalog(agents: Agents) -> None:
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("create index by_hand on agent.memories (agent_id)")
        conn.exec_driver_sql("grant select on agent.memories to pg_monitor")
    first, found = agents.snapshot(), agents.recall("a boat in Kiel")
    before = catalog(agents.engine)
    words = agents.count("agent.postings")
    added = agents.remember("Ann sold the boat", "Ann has a car")
    with agents.acting() as session:
        agents.memory.retract(session, added[0])
        agents.memory.create_space(session, "crew")
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("update agent.memories set content = 'wrong' where number = 1")
        conn.exec_driver_sql("delete from agent.memories where number = 2")
    second = agents.snapshot()

    restored = exact(agents.engine, agents.store, first)

    assert restored.changed
    assert restored.before == second.id
    assert restored.rows["memories"] == 4
    assert agents.snapshot().id == first.id
    assert catalog(agents.engine) == before
    with agents.engine.connect() as conn:
        assert wall_faults(conn) == {}
    assert agents.count("agent.postings") == words
    assert agents.recall("a boat in Kiel") == found
    # Numbers that were given away since are not given again.
    agents.remember("Ann has a bike")
    with agents.engine.connect() as conn:
        assert conn.exec_driver_sql("select max(number) from agent.memories").scalar_one() == 7
    assert agents.schemas() >= {"agent"}
    assert not [name for name in agents.schemas() if name.startswith("memos_restore")]
    # And back.
    exact(agents.engine, agents.store, second)
    assert agents.snapshot().id == second.id


def test_restore_of_what_is_there_changes_nothing(agents: Agents) -> None:
    first = agents.snapshot()
    with agents.engine.connect() as conn:
        number = conn.exec_driver_sql("select 'agent.memories'::regclass::oid").scalar_one()
    restored = exact(agents.engine, agents.store, first)
    assert (restored.changed, restored.before) == (False, first.id)
    with agents.engine.connect() as conn:
        assert number == conn.exec_driver_sql("select 'agent.memories'::regclass::oid").scalar_one()


def refused(agents: Agents, code: str, **options: object) -> SnapshotError:
    """Restore the first snapshot, which is refused with nothing changed."""
    manifest = options.pop("manifest", None) or agents.store.manifests()[0]
    before = agents.snapshot()
    with pytest.raises(SnapshotError) as raised:
        exact(agents.engine, agents.store, manifest, **options)  # type: ignore[arg-type]
    assert raised.value.code == code
    assert agents.snapshot().id == before.id
    assert not [name for name in agents.schemas() if name.startswith("memos_restore")]
    return raised.value
