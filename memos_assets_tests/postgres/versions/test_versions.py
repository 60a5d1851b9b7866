"""Another version of the tables goes live in one step, and back; readers see one or the other."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import TargetError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.versions.swap import Exchange, roll_back, swap
from memos_assets.postgres.versions.versions import (
    create_shadow,
    list_versions,
    prune,
    sole_swap,
    unbooked_schemas,
    version_is_complete,
)
from memos_assets.settings import Settings
from memos_assets_tests.consolidate import builders as b

LONG_ENOUGH = 20.0

#: Columns, constraints and indexes of a schema, with what is said about them.
SHAPE = (
    """select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    col_description(c.oid, a.attnum), obj_description(c.oid) from pg_class c
    join pg_attribute a on a.attrelid = c.oid join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :schema and c.relkind = 'r' and a.attnum > 0 order by c.relname, a.attnum""",
    """select conrelid::regclass::text, conname, contype, pg_get_constraintdef(k.oid)
    from pg_constraint k join pg_namespace n on n.oid = connamespace
    where n.nspname = :schema order by 1, 2""",
    """select tablename, indexname, indexdef from pg_indexes where schemaname = :schema
    order by 1, 2""",
)


def execute(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as conn:
        for statement in statements:
            conn.exec_driver_sql(statement)


def now(engine: sa.Engine) -> datetime:
    with engine.connect() as conn:
        moment: datetime = conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
        return moment


def swap_in(engine: sa.Engine, name: str = "one", pin: Pin | None = None) -> Exchange:
    create_shadow(engine, MEMOS, name)
    if pin is not None:
        b.load_stale(in_schema(engine, MEMOS.schema, MEMOS.shadow), pin)
    return swap(engine, MEMOS, name, filled_at=now(engine), timeout_seconds=LONG_ENOUGH)


def states(engine: sa.Engine) -> Sequence[tuple[int, str, str]]:
    with engine.connect() as conn:
        return [(v.number, v.state, v.schema) for v in list_versions(conn, MEMOS)][::-1]


def memories(folder: Path, *numbers: int) -> Path:
    return b.write_kind(
        folder, "semantic_memory", memories=[b.memory(number) for number in numbers]
    )


def test_a_shadow_has_the_same_tables_as_the_live_version(engine: sa.Engine) -> None:
    create_shadow(engine, MEMOS, "one")

    def shape(schema: str) -> list[list[str]]:
        return [
            [str(value).replace(f"{MEMOS.shadow}.", "memos.") for value in row]
            for statement in SHAPE
            for row in b.rows(engine, statement, schema=schema)
        ]

    shadow = shape(MEMOS.shadow)
    assert shadow == shape("memos")
    assert len(shadow) > 10 * len(MEMOS.tables)


def test_a_swap_moves_rows_indexes_and_books_and_a_rollback_takes_them_back(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", 1, 2)
    b.consolidate(engine, path)
    b.change(path, "delete from memories where id = 'memory-1'")
    pin = b.observe(engine, path)
    create_shadow(engine, MEMOS, "one")
    shadow = in_schema(engine, MEMOS.schema, MEMOS.shadow)
    b.load_stale(shadow, pin)
    (index, *_) = search_indexes(MEMOS.table("semantic_memories").as_table)
    ensure_index(shadow, index, maintenance_work_mem_mb=16)
    assert b.rows(engine, "select id from memos.semantic_memories order by 1") == [
        ("memory-1",),
        ("memory-2",),
    ]

    done = swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH)
    assert (done.live, done.previous, done.previous_schema, done.rows) == (2, 1, "memos_v1", 1)
    assert states(engine) == [(1, "previous", "memos_v1"), (2, "live", "memos")]
    assert b.rows(engine, "select id from memos.semantic_memories") == [("memory-2",)]
    assert b.rows(engine, "select count(*) from memos_v1.semantic_memories") == [(2,)]
    assert b.rows(engine, "select to_regnamespace('memos_shadow') is null") == [(True,)]
    assert b.rows(
        engine, f"select schemaname from pg_indexes where indexname = '{index.name}'"
    ) == [("memos",)]
    assert b.rows(
        engine, "select target, sum(rows)::int from memos_ops.chunks group by 1 order by 1"
    ) == [("memos", 1), ("memos_v1", 2)]
    assert b.stale_chunks(engine, pin, "semantic_memories") == []
    assert b.red(engine, pin) == {}

    back = roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
    assert (back.live, back.previous, back.rows) == (1, 2, 2)
    assert states(engine) == [(1, "live", "memos"), (2, "previous", "memos_v2")]
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(2,)]
    # What is due again is what the file holds beyond it.
    assert b.stale_chunks(engine, pin, "semantic_memories") == [0]
    # A second rollback takes back the first.
    assert roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH).live == 2
    assert b.stale_chunks(engine, pin, "semantic_memories") == []


def test_after_a_rollback_the_proof_is_against_the_pin_that_the_version_holds(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", 1, 2)
    former = b.consolidate(engine, path)
    b.change(path, "delete from memories where id = 'memory-1'")
    pin = b.observe(engine, path)
    swap_in(engine, pin=pin)
    roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
    with engine.connect() as conn:
        digest = conn.execute(sa.select(tables.sources.c.pin_digest)).scalar_one()
    assert digest == former.digest != pin.digest
    assert former.path.exists()
    assert b.red(engine, former) == {}


def test_what_was_loaded_beside_the_shadow_is_due_again_after_the_swap(
    engine: sa.Engine, tmp_path: Path
) -> None:
    path = memories(tmp_path / "data", 1, 2_048)
    pin = b.consolidate(engine, path)
    create_shadow(engine, MEMOS, "one")
    b.load_stale(in_schema(engine, MEMOS.schema, MEMOS.shadow), pin)
    b.change(path, "update memories set content = 'else' where id = 'memory-2048'")
    newer = b.observe(engine, path)
    assert b.load_stale(engine, newer) == {"semantic_memories": [1]}
    swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH)
    assert b.load_stale(engine, newer) == {"semantic_memories": [1]}
    assert b.red(engine, newer) == {}


def test_a_shadow_that_was_left_behind_gives_way_to_the_next(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data", 1))
    create_shadow(engine, MEMOS, "one")
    b.load_stale(in_schema(engine, MEMOS.schema, MEMOS.shadow), pin)
    create_shadow(engine, MEMOS, "two")
    assert states(engine) == [(1, "live", "memos"), (3, "shadow", MEMOS.shadow)]
    assert b.rows(engine, "select distinct target from memos_ops.chunks") == [("memos",)]
    assert b.rows(engine, f"select count(*) from {MEMOS.shadow}.semantic_memories") == [(0,)]
    with pytest.raises(TargetError, match=r"^M334 .*no longer there"):
        swap(engine, MEMOS, "one", filled_at=now(engine), timeout_seconds=LONG_ENOUGH)


def test_two_consolidations_do_not_fill_the_shadow_at_once(engine: sa.Engine) -> None:
    with sole_swap(engine), pytest.raises(TargetError, match=r"^M330 "), sole_swap(engine):
        pass
    with sole_swap(engine):
        pass


def test_owners_privileges_and_options_of_the_live_tables_go_to_the_next_version(
    engine: sa.Engine,
) -> None:
    execute(
        engine,
        "create role keeper",
        "create role reader",
        'create role "odd %s"";"',
        "alter table memos.corpora owner to keeper",
        "grant select on memos.corpora to reader with grant option",
        "grant select (id, content), insert on memos.semantic_memories to public",
        'grant update on memos.semantic_memories to "odd %s"";"',
        "alter table memos.corpora set (autovacuum_enabled = false, fillfactor = 70)",
    )
    shown = (
        "select c.relname, pg_get_userbyid(c.relowner), c.reloptions::text, "
        "(select array_agg(x order by x) from unnest(relacl::text[]) x)::text, "
        "(select array_agg(a.attname || a.attacl::text order by 1) from pg_attribute a "
        "where a.attrelid = c.oid and a.attacl is not null)::text "
        "from pg_class c where relkind = 'r' and relnamespace = 'memos'::regnamespace order by 1"
    )
    try:
        before = b.rows(engine, shown)
        swap_in(engine)
        assert b.rows(engine, shown) == before
        roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
        assert b.rows(engine, shown) == before
    finally:
        execute(
            engine,
            "reassign owned by keeper to current_user",
            'drop owned by keeper, reader, "odd %s"";"',
            'drop role keeper, reader, "odd %s"";"',
        )


def test_a_rollback_needs_a_former_version_of_the_same_shape(engine: sa.Engine) -> None:
    with pytest.raises(TargetError, match=r"^M332 .*there is no former version.*versions"):
        roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
    swap_in(engine)
    with pytest.raises(TargetError, match=r"^M332 .*there is no version 7"):
        roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH, number=7)
    execute(engine, "update memos_ops.versions set schema_revision = '0001' where version = 1")
    with pytest.raises(TargetError, match=r"^M334 .*revision 0001, the database at"):
        roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)
    execute(engine, "drop table memos_v1.corpora")
    execute(
        engine,
        "update memos_ops.versions set schema_revision = "
        "(select version_num from memos_ops.alembic_version)",
    )
    with pytest.raises(TargetError, match=r"^M334 .*lacks the tables corpora"):
        roll_back(engine, MEMOS, timeout_seconds=LONG_ENOUGH)


def test_former_versions_are_dropped_when_their_time_is_over_and_the_live_one_never(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data", 1))
    swap_in(engine, "one", pin)
    swap_in(engine, "two", pin)
    assert prune(engine, MEMOS, keep_days=7) == []
    execute(
        engine,
        "update memos_ops.versions set swapped_out_at = now() - interval '8 days', "
        "swapped_in_at = now() - interval '9 days' where version <> 2",
    )
    assert prune(engine, MEMOS, keep_days=7) == [1]
    assert prune(engine, MEMOS, keep_days=0) == [2]
    assert states(engine) == [(3, "live", "memos")]
    assert b.rows(engine, "select distinct target from memos_ops.chunks") == [("memos",)]
    assert b.rows(engine, "select nspname from pg_namespace where nspname like 'memos_v%'") == []
    assert b.rows(engine, "select count(*) from memos.semantic_memories") == [(1,)]


def test_a_version_that_others_use_is_not_dropped_from_under_them(engine: sa.Engine) -> None:
    swap_in(engine)
    execute(engine, "create view public.theirs as select * from memos_v1.corpora")
    with pytest.raises(
        TargetError, match=r"^M335 schema memos_v1: .*view public.theirs depends on"
    ):
        prune(engine, MEMOS, keep_days=0)
    assert states(engine) == [(1, "previous", "memos_v1"), (2, "live", "memos")]


def test_v14_live_version_is_complete_fails_where_a_table_a_key_a_row_or_a_version_is_gone(
    engine: sa.Engine, tmp_path: Path
) -> None:
    pin = b.consolidate(engine, memories(tmp_path / "data", 1, 2))
    swap_in(engine, pin=pin)

    def observed() -> str:
        with engine.connect() as conn:
            finding = version_is_complete(conn, MEMOS)
        assert finding.passed == (finding.evidence["faults"] == [])
        return finding.observed

    assert observed() == f"{len(MEMOS.tables)} tables and 2 rows"
    execute(engine, "delete from memos.semantic_memories where id = 'memory-1'")
    assert observed() == "memos.semantic_memories holds 1 rows, the ledger 2"
    execute(
        engine,
        "alter table memos.semantic_memories drop constraint semantic_memories_pkey",
        "drop table memos.corpora",
        "drop schema memos_v1 cascade",
    )
    create_shadow(engine, MEMOS, "left behind")
    execute(
        engine,
        "update memos_ops.versions set made_at = now() - interval '2 days' where state = 'shadow'",
    )
    for part in (
        "memos.corpora is missing",
        "memos.semantic_memories has the key none",
        "version 1 has to be kept, and schema memos_v1 is gone",
        "version 3 was left in memos_shadow more than a day ago",
    ):
        assert part in observed()
    assert prune(engine, MEMOS, keep_days=7) == [3]
    assert "left in" not in observed()


def test_migrations_leave_other_versions_alone(
    engine: sa.Engine, database_url: sa.URL, settings: Settings
) -> None:
    swap_in(engine)
    create_shadow(engine, MEMOS, "two")
    assert migrations.upgrade(engine) == []
    migrations.downgrade(engine, "0001")
    assert migrations.upgrade(engine)[-1] == migrations.head()
    # The older revision dropped the bookkeeping tables; the next swap finds a free schema.
    fresh = create_engine(database_url, settings, application_name="tests", pooled=False)
    assert swap_in(fresh).live == 2
    assert states(fresh) == [(1, "previous", "memos_v1_1"), (2, "live", "memos")]
    with engine.connect() as conn:
        assert unbooked_schemas(conn, MEMOS) == ["memos_v1"]
