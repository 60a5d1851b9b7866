"""The memories that memOS writes are kept healthy as the consolidated tables are."""

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.memos_tables import MEMORIES
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.maintenance.health import (
    index_is_used,
    no_index_is_left_invalid,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.maintenance.maintain import maintain
from memos_assets.maintenance.pending import pending_work, scope_of
from memos_assets.maintenance.recall_drift import recall_has_not_drifted
from memos_assets.postgres import migrations
from memos_assets_tests.postgres.application.memos import OTHERS
from memos_assets_tests.postgres.application.reading import content, execute

TABLE = "public.memories"
COUNTED = "select pg_stat_force_next_flush()"
INVALID = "update pg_index set indisvalid = false where indexrelid = to_regclass('public.{}')"


@pytest.fixture
def indexed(engine: sa.Engine) -> sa.Engine:
    migrations.upgrade(engine)
    for index in search_indexes(MEMORIES.as_table):
        ensure_index(engine, index, maintenance_work_mem_mb=64)
    execute(engine, f"analyze {TABLE}")
    return engine


def red(engine: sa.Engine) -> list[str]:
    (hnsw,) = MEMORIES.vector_indexes
    built = {index.name: index for index in search_indexes(MEMORIES.as_table)}
    with engine.connect() as conn:
        found = {
            "V20": table_is_vacuumed(conn, MEMORIES.as_table),
            "V21": recall_has_not_drifted(conn, MEMORIES.as_table, hnsw, built[hnsw.name]),
            "V22": no_index_is_left_invalid(conn, MEMOS.every_table),
            "V23": statistics_are_there(conn, MEMORIES.as_table),
            **{f"V24 {name}": index_is_used(conn, index, {}) for name, index in built.items()},
        }
    return [check for check, finding in found.items() if not finding.passed]


def mended(engine: sa.Engine, *names: str, rebuild: bool = False) -> list[tuple[str, str]]:
    scope = scope_of(MEMOS, names, rebuild=rebuild)
    done = list(maintain(engine, scope, maintenance_work_mem_mb=64))
    assert [one.error for one in done if one.error] == []
    return [(one.work.action, one.work.what) for one in done]


def test_every_check_passes_once_they_are_indexed_and_analysed(indexed: sa.Engine) -> None:
    assert red(indexed) == []
    assert pending_work(indexed, scope_of(MEMOS, ["memories"])) == []


def test_memories_that_memos_would_not_show_do_not_count_as_drift(indexed: sa.Engine) -> None:
    execute(
        indexed,
        f"update {TABLE} set is_deleted = true "
        f"where id in (select id from {TABLE} order by id limit 12)",
    )
    assert "V21" not in red(indexed)


def test_dead_rows_and_old_statistics_of_memories_are_mended(indexed: sa.Engine) -> None:
    execute(indexed, *[f"update {TABLE} set access_count = access_count + 1"] * 4, COUNTED)
    before = content(indexed, ["memories"])
    assert red(indexed) == ["V20", "V23"]
    assert mended(indexed) == [("vacuum", TABLE)]
    assert red(indexed) == []
    assert content(indexed, ["memories"]) == before


def test_what_a_broken_rebuild_left_on_memories_is_dropped(indexed: sa.Engine) -> None:
    left = "memories_tags_gin_ccnew"
    execute(indexed, f"create index {left} on {TABLE} (user_id)", INVALID.format(left))
    assert red(indexed) == ["V22"]
    assert mended(indexed) == [("drop", f"public.{left}")]
    assert red(indexed) == []


def test_an_invalid_index_on_a_table_of_others_is_not_ours_to_report(indexed: sa.Engine) -> None:
    execute(indexed, f"create index theirs on {OTHERS[0]} ((1))", INVALID.format("theirs"))
    assert red(indexed) == []


def test_their_indexes_are_rebuilt_when_asked_for(indexed: sa.Engine) -> None:
    names = [f"public.{index.name}" for index in search_indexes(MEMORIES.as_table)]
    assert mended(indexed, TABLE, rebuild=True) == [("reindex", name) for name in names]
    assert red(indexed) == []
