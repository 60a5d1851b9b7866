"""What others hang on the live tables is found before it would follow the former version."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.errors import TargetError
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres.versions.dependents import hanging_on, own_indexes
from memos_assets.postgres.versions.swap import swap
from memos_assets.postgres.versions.versions import create_shadow, list_versions
from memos_assets_tests.consolidate import builders as b

#: Kind of object -> the statement that makes it, and how it is named.
HANGING = {
    "view": (
        "create view public.theirs as select id from memos.semantic_memories",
        "view public.theirs",
    ),
    "foreign key": (
        (
            "create table public.theirs (source text, id text, "
            "foreign key (source, id) references memos.semantic_memories)"
        ),
        "constraint theirs_source_id_fkey on table public.theirs",
    ),
    "trigger": (
        (
            "create function public.nothing() returns trigger language plpgsql as "
            "'begin return new; end'; create trigger theirs before insert on memos.corpora "
            "for each row execute function public.nothing()"
        ),
        "trigger theirs on table memos.corpora",
    ),
    "policy": (
        "create policy theirs on memos.corpora for select using (true)",
        "policy theirs on table memos.corpora",
    ),
    "row security": (
        "alter table memos.corpora enable row level security",
        "row security of table memos.corpora",
    ),
    "index": ("create index theirs on memos.corpora (created_at)", "index memos.theirs"),
    "column": (
        "alter table memos.corpora add column theirs text",
        "column theirs of table memos.corpora",
    ),
    "check": (
        "alter table memos.corpora add constraint theirs check (chunk >= 0)",
        "constraint theirs on table memos.corpora",
    ),
    "default": (
        "alter table memos.corpora alter chunk set default 0",
        "default value for column chunk of table memos.corpora",
    ),
    "statistics": (
        "create statistics memos.theirs on source, chunk from memos.corpora",
        "statistics object memos.theirs",
    ),
    "publication": ("create publication theirs for table memos.corpora", "publication theirs"),
    "publication of a schema": (
        "create publication theirs for tables in schema memos",
        "publication theirs",
    ),
    "child": (
        "create table public.theirs () inherits (memos.corpora)",
        "table public.theirs",
    ),
    "column of its type": (
        "create table public.theirs (one memos.corpora, many memos.corpora[])",
        "column one of table public.theirs",
    ),
    "function": (
        (
            "create function public.theirs() returns bigint begin atomic "
            "select count(*) from memos.corpora; end"
        ),
        "function public.theirs()",
    ),
}


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.parametrize(("statement", "what"), HANGING.values(), ids=HANGING.keys())
def test_what_others_hang_on_a_live_table_is_found_and_the_swap_refused(
    engine: sa.Engine, statement: str, what: str
) -> None:
    create_shadow(engine, MEMOS, "one")
    with engine.begin() as conn:
        conn.exec_driver_sql(statement)
    with engine.connect() as conn:
        found = hanging_on(conn, MEMOS)
    assert any(what in one for one in found), found
    with pytest.raises(TargetError, match=r"^M331 schema memos: .* former version. Fix: drop"):
        swap(engine, MEMOS, "one", filled_at=datetime.now(UTC), timeout_seconds=5)
    with engine.connect() as conn:
        assert [version.state for version in list_versions(conn, MEMOS)] == ["shadow", "live"]


def test_nothing_of_ours_counts_as_hanging_on_the_tables(engine: sa.Engine, tmp_path: Path) -> None:
    memories = [b.memory(1)]
    b.consolidate(engine, b.write_kind(tmp_path / "data", "semantic_memory", memories=memories))
    for spec in MEMOS.tables:
        for index in search_indexes(spec.as_table):
            ensure_index(engine, index, maintenance_work_mem_mb=16, parallel_workers=0)
            assert index.name in own_indexes(MEMOS)
    with engine.connect() as conn:
        assert hanging_on(conn, MEMOS) == []
