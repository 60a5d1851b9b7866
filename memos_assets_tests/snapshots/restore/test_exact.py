"""An exact restore: the rows of then, with everything that the catalog wants, or nothing at all."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
import sqlalchemy as sa

from memos_assets.errors import SnapshotError
from memos_assets.postgres.advisory_locks import RESTORE
from memos_assets.postgres.row_security import wall_faults
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.restore.exact import ATTEMPTS, exact
from memos_assets.snapshots.store import Store
from memos_assets.snapshots.write import Written, write_snapshot
from memos_assets_tests.snapshots.restore.conftest import EMBEDDER, Agents

#: Everything about the tables of agents but their numbers.
_CATALOG = """
select 'index', concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid) from pg_index i
    join pg_class c on c.oid = i.indexrelid where c.relnamespace = 'agent'::regnamespace
union all select 'constraint', concat_ws(' ', conrelid::regclass, conname,
    pg_get_constraintdef(oid), convalidated)
    from pg_constraint where connamespace = 'agent'::regnamespace
union all select 'trigger', pg_get_triggerdef(t.oid) from pg_trigger t
    join pg_class c on c.oid = t.tgrelid
    where c.relnamespace = 'agent'::regnamespace and not t.tgisinternal
union all select 'policy', concat_ws(' ', tablename, policyname, cmd, roles, qual, with_check)
    from pg_policies where schemaname = 'agent'
union all select 'table', concat_ws(' ', relname, array(
        select a::text from unnest(relacl) a order by 1), relowner, relrowsecurity,
        relforcerowsecurity, reloptions, relpersistence::text, relkind::text,
        relreplident::text)
    from pg_class where relnamespace = 'agent'::regnamespace and relkind <> 'i'
union all select 'column', concat_ws(' ', attrelid::regclass, attname,
        format_type(atttypid, atttypmod), attnotnull, attidentity::text, attstorage::text, attnum,
        pg_get_expr(d.adbin, d.adrelid), col_description(attrelid, attnum))
    from pg_attribute a join pg_class c on c.oid = attrelid
    left join pg_attrdef d on d.adrelid = attrelid and d.adnum = attnum
    where relnamespace = 'agent'::regnamespace and attnum > 0 and relkind = 'r'
union all select 'trigger', concat_ws(' ', pg_get_triggerdef(t.oid), tgenabled::text)
    from pg_trigger t join pg_class c on c.oid = tgrelid
    where relnamespace = 'agent'::regnamespace and not tgisinternal
union all select 'comment', concat_ws(' ', relname, obj_description(oid, 'pg_class'))
    from pg_class where relnamespace = 'agent'::regnamespace and relkind = 'r'
union all select 'statistics', concat_ws(' ', pg_get_statisticsobjdef(s.oid), stxowner,
        stxstattarget, d.stxoid is not null)
    from pg_statistic_ext s left join pg_statistic_ext_data d on d.stxoid = s.oid
order by 1, 2
"""


def catalog(engine: sa.Engine) -> Sequence[tuple[str, str]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.exec_driver_sql(_CATALOG).all()]


def test_restore_is_the_first_snapshot_again_with_its_catalog(agents: Agents) -> None:
    with agents.engine.begin() as conn:
        conn.exec_driver_sql(
            "create index by_hand on agent.memories (agent_id) where content like 'a%%'"
        )
        conn.exec_driver_sql("grant select on agent.memories to pg_monitor")
        conn.exec_driver_sql(
            "create trigger by_hand before update on agent.memories for each row "
            "execute function pg_catalog.suppress_redundant_updates_trigger()"
        )
        conn.exec_driver_sql("alter table agent.memories disable trigger by_hand")
        conn.exec_driver_sql("create unique index hers on agent.memories (id, number)")
        conn.exec_driver_sql("alter table agent.memories replica identity using index hers")
        conn.exec_driver_sql("alter table agent.links replica identity full")
        conn.exec_driver_sql("create statistics public.hers on kind, agent_id from agent.memories")
        conn.exec_driver_sql("create statistics agent.by_hand (mcv) on a, type from agent.links")
        conn.exec_driver_sql("alter statistics public.hers set statistics 7")
        conn.exec_driver_sql("analyze agent.memories, agent.links")
    first, found = agents.snapshot(), agents.recall("a boat in Kiel")
    before = catalog(agents.engine)
    assert "trigger" in {kind for kind, _ in before}, "answers in caches follow memories"
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


def test_what_agents_write_meanwhile_is_in_the_snapshot_of_now(agents: Agents) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")

    def written_meanwhile(_conn: sa.Connection, _schema: str) -> Sequence[str]:
        agents.remember("Ann has a bike")
        return []

    restored = exact(agents.engine, agents.store, first, prove=written_meanwhile)

    assert (restored.changed, restored.attempts) == (True, 2)
    assert restored.seconds["readers"] < 1
    assert agents.snapshot().id == first.id
    # Nor is a number given again that was given away while the schema was loaded.
    agents.remember("Ann has a plane")
    with agents.engine.connect() as conn:
        assert conn.exec_driver_sql("select max(number) from agent.memories").scalar_one() == 7
    exact(agents.engine, agents.store, agents.store.manifest(restored.before))
    assert {"Ann has a bike", "Ann has a car"} <= set(agents.recall("Ann has"))


@pytest.mark.parametrize("hold_writers", [False, True])
def test_agents_that_go_on_writing_are_refused_or_wait(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, *, hold_writers: bool
) -> None:
    first = agents.snapshot()
    written = iter(range(100))
    threads: list[threading.Thread] = []
    cancelled: list[sa.exc.OperationalError] = []

    def write_and_remember(engine: sa.Engine, store: Store) -> Written:
        done = write_snapshot(engine, store)
        thread = threading.Thread(target=remember, args=(f"Ann has {next(written)} cars",))
        thread.start()
        # A writer that waits does not end before the exchange.
        thread.join(1)
        threads.append(thread)
        return done

    def remember(text: str) -> None:
        try:
            agents.remember(text)
        except sa.exc.OperationalError as error:
            cancelled.append(error)

    monkeypatch.setattr("memos_assets.snapshots.restore.exact.write_snapshot", write_and_remember)
    agents.remember("Ann has a boat")
    if not hold_writers:
        with pytest.raises(SnapshotError, match=r"M821.*agent\.memories"):
            exact(agents.engine, agents.store, first)
        assert len([one for one in agents.recall("Ann has cars") if "cars" in one]) == ATTEMPTS
        return
    restored = exact(agents.engine, agents.store, first, hold_writers=True)
    assert restored.attempts == ATTEMPTS
    for thread in threads:
        thread.join()
    # The one that waited was told so: it had read what was there before.
    assert "canceling statement due to user request" in str(cancelled)
    assert agents.snapshot().id == first.id
    before = agents.store.manifest(restored.before).entry("agent.memories")
    assert before is not None
    assert before.rows == 7


def test_a_transaction_that_reads_is_waited_for_and_then_it_is_refused(agents: Agents) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")
    before = agents.snapshot()
    with agents.acting() as session:
        agents.memory.recall(session, agents.memory.query("car"))
        with pytest.raises(SnapshotError, match="M822"):
            exact(agents.engine, agents.store, first, timeout_seconds=0.1)
    assert agents.snapshot().id == before.id


def test_snapshots_that_do_not_fit_are_refused(agents: Agents) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")

    other = replace(first, database="1/2", revision="0016")
    refused(agents, "M815", manifest=other)
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("alter table agent.memories add column mood text")
    said = refused(agents, "M816")
    assert "agent.memories.mood is not there in the snapshot and text in the database" in str(said)
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("alter table agent.memories drop column mood")
        conn.exec_driver_sql("create view agent.hers as select * from agent.memories")
    assert "view agent.hers" in str(refused(agents, "M819"))
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("drop view agent.hers")
        conn.exec_driver_sql("create publication hers for table agent.memories")
    assert "publication hers" in str(refused(agents, "M819"))
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("drop publication hers")
        conn.exec_driver_sql("create policy hers on agent.memories as restrictive using (false)")
        conn.exec_driver_sql("alter table agent.links add constraint hers check (weight < 9)")
    lost = str(refused(agents, "M819"))
    assert "policy hers of memories" in lost
    assert "constraint hers of links" in lost
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("drop policy hers on agent.memories")
        conn.exec_driver_sql("alter table agent.links drop constraint hers")
        conn.exec_driver_sql("update agent.models set name = 'better'")
    assert "memos/agent/reembedding" in str(refused(agents, "M817"))
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("update agent.models set name = %s", (EMBEDDER.model,))
    refused(agents, "M818", prove=lambda _conn, _schema: ["recall finds 1 of 50 memories"])
    with agents.engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into agent.erasures (user_digest, erased_by, counts) "
            "values (encode(sha256('bob'), 'hex'), 'admin', '{}')"
        )
    assert "names a user who was erased" in str(refused(agents, "M827"))
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("delete from agent.erasures")
    with RESTORE.tried_alone(agents.engine):
        refused(agents, "M820")
    # A snapshot of another database is restored when that is meant.
    assert exact(agents.engine, agents.store, other, from_other=True).changed


def test_rows_that_another_database_had_first_are_of_this_one_too(agents: Agents) -> None:
    written = agents.snapshot()
    # The store is shared: the rows were seen in the other database, then here.
    agents.store.put_manifest(replace(written, database="1/2"))
    first = agents.snapshot()
    assert (first.id, first.database) == (written.id, "1/2")
    assert first.databases == {"1/2", written.database}
    agents.remember("Ann has a car")
    assert agents.snapshot().parent == first.id
    assert exact(agents.engine, agents.store, first).changed
    said = refused(agents, "M815", manifest=replace(first, again=[]))
    assert "of database 1/2, and this one is" in str(said)


def test_damaged_files_change_nothing(agents: Agents) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")
    entry = first.entry("agent.memories")
    assert entry is not None
    assert agents.store.local is not None
    path = agents.store.local / entry.file
    whole = path.read_bytes()
    place = len(whole) // 3
    for damaged in (whole[:-10], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError, match=r"M807 table agent\.memories"):
            exact(agents.engine, agents.store, first)
        assert agents.count("agent.memories") == 5
    path.unlink()
    refused(agents, "M807")


_KILLED = """
import os, signal, sys
import sqlalchemy as sa
from memos_assets.settings import load_settings
from memos_assets.postgres.target import open_consolidated
from memos_assets.snapshots.restore import exact as restoring
from memos_assets.snapshots.store import open_store

def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

phase, url, snapshot = sys.argv[1:]
if phase == "proof":
    prove = die
else:
    prove = None
    setattr(restoring, phase, die)
store = open_store(url)
with open_consolidated(load_settings(), "killed") as engine:
    restoring.exact(engine, store, store.manifest(snapshot), prove=prove)
"""


@pytest.mark.parametrize("phase", ["proof", "stop_writers", "exchange", "put_application"])
def test_killed_restore_leaves_the_live_tables_whole(agents: Agents, phase: str) -> None:
    first = agents.snapshot()
    agents.remember("Ann has a car")
    before = agents.snapshot()
    address = agents.settings.database_url
    assert address is not None
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, phase, agents.store.url, first.id],
        env={**os.environ, "MEMOS_DATABASE_URL": address.get_secret_value()},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    left = [name for name in agents.schemas() if name.startswith("memos_restore")]
    assert bool(left) == (phase != "proof")
    assert agents.snapshot().id == before.id
    assert exact(agents.engine, agents.store, first).changed
    assert agents.snapshot().id == first.id
    assert not [name for name in agents.schemas() if name.startswith("memos_restore")]


def test_memos_own_rows_are_put_back_where_they_are(agents: Agents) -> None:
    quest = (
        "insert into public.quests (id, title, category) select md5(n::text)::uuid, 'Walk ' || n, "
        "'body' from generate_series({}, {}) n"
    )
    with agents.engine.begin() as conn:
        conn.exec_driver_sql(quest.format(1, 3))
    first = agents.snapshot()
    with agents.engine.begin() as conn:
        conn.exec_driver_sql("delete from public.quests where title = 'Walk 1'")
        conn.exec_driver_sql("update public.quests set points = 3 where title = 'Walk 2'")
        conn.exec_driver_sql(quest.format(4, 4))
        number = conn.exec_driver_sql("select 'public.quests'::regclass::oid").scalar_one()
    restored = exact(agents.engine, agents.store, first)
    assert restored.application["public.quests"] == Counts(1, 1, 1)
    assert agents.snapshot().id == first.id
    with agents.engine.connect() as conn:
        assert number == conn.exec_driver_sql("select 'public.quests'::regclass::oid").scalar_one()
