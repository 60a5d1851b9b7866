"""The health checks: green after a load, and turned red on a real database."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.finding import Finding
from memos_assets.indexes.build import ensure_index
from memos_assets.indexes.bulk_load import analyze
from memos_assets.maintenance import health
from memos_assets.maintenance.health import (
    index_is_used,
    no_index_is_left_invalid,
    statistics_are_there,
    table_is_vacuumed,
)
from memos_assets.maintenance.recall_drift import recall_has_not_drifted, uncounted
from memos_assets_tests.indexes.rows import EVERY_INDEX, put, put_clusters, search_index
from memos_assets_tests.indexes.test_build import HNSW, SPEC, invalidate

TABLE = SPEC.name
INDEX = EVERY_INDEX[HNSW]
BUILT = search_index(HNSW)
#: The expression that the index stores.
EXPRESSION = "(public.l2_normalize(embedding)::public.halfvec(768))"


@pytest.fixture
def loaded(engine: sa.Engine) -> sa.Engine:
    """Return a database of 302 rows, 300 of them embedded: analysed, then indexed."""
    put_clusters(engine, INDEX)
    analyze(engine, SPEC)
    ensure_index(engine, BUILT, maintenance_work_mem_mb=64)
    return engine


def change(engine: sa.Engine, *statements: str) -> None:
    """Execute statements, and have PostgreSQL count them at once."""
    with engine.begin() as conn:
        for statement in statements:
            conn.execute(sa.text(statement))
        conn.execute(sa.text("select pg_stat_force_next_flush()"))


def vacuumed(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return table_is_vacuumed(conn, MEMOS.table(TABLE).as_table)


def statistics(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return statistics_are_there(conn, MEMOS.table(TABLE).as_table)


def drift(engine: sa.Engine, name: str = HNSW) -> Finding:
    with engine.connect() as conn:
        index = EVERY_INDEX[name]
        table = MEMOS.table(index.table).as_table
        return recall_has_not_drifted(conn, table, index, search_index(name))


def invalid(engine: sa.Engine) -> Finding:
    with engine.connect() as conn:
        return no_index_is_left_invalid(conn, MEMOS.every_table)


def use(engine: sa.Engine, former: Mapping[str, Any] | None = None) -> Finding:
    with engine.connect() as conn:
        return index_is_used(conn, BUILT, former or {})


def some_time_ago(finding: Finding, days: int) -> dict[str, Any]:
    """Return the evidence as if it had been seen days ago."""
    evidence = dict(finding.evidence)
    for name in ("watched_since", "used_at"):
        if evidence[name]:
            moment = datetime.fromisoformat(evidence[name]) - timedelta(days=days)
            evidence[name] = moment.isoformat()
    return evidence


def test_every_check_passes_right_after_a_load(loaded: sa.Engine) -> None:
    found = [vacuumed(loaded), drift(loaded), invalid(loaded), statistics(loaded), use(loaded)]
    assert [finding.observed for finding in found if not finding.passed] == []
    assert vacuumed(loaded).observed == "0 of 302 row versions dead (0.0%)"
    assert drift(loaded).observed == "recall 1.000 over 20 queries"


def test_every_check_passes_on_empty_tables(engine: sa.Engine) -> None:
    ensure_index(engine, BUILT, maintenance_work_mem_mb=64)
    found = [vacuumed(engine), drift(engine), invalid(engine), statistics(engine)]
    found += [use(engine)]
    assert [finding.observed for finding in found if not finding.passed] == []
    assert drift(engine).observed == statistics(engine).observed == "no rows"


def test_v20_tables_are_vacuumed_fails_from_a_share_of_dead_rows_on(loaded: sa.Engine) -> None:
    change(loaded, f"delete from memos.{TABLE} where source_rowid < 60")
    assert vacuumed(loaded).passed
    change(loaded, f"update memos.{TABLE} set source_rowid = source_rowid where source_rowid < 70")
    finding = vacuumed(loaded)
    assert not finding.passed
    assert finding.observed == "70 of 312 row versions dead (22.4%)"
    with loaded.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(sa.text(f"vacuum memos.{TABLE}"))
    assert vacuumed(loaded).observed == "0 of 242 row versions dead (0.0%)"


def test_counts_that_were_reset_are_not_taken_for_the_table(loaded: sa.Engine) -> None:
    change(loaded, "select pg_stat_reset()")
    change(loaded, f"update memos.{TABLE} set source_rowid = source_rowid where source_rowid < 55")
    assert vacuumed(loaded).observed == "55 of 357 row versions dead (15.4%)"
    assert statistics(loaded).observed == "55 of 302 rows changed since"


def test_v20_tables_are_vacuumed_fails_where_there_is_no_table(engine: sa.Engine) -> None:
    change(engine, f"drop table memos.{TABLE}")
    for finding in (vacuumed(engine), statistics(engine)):
        assert (finding.passed, finding.observed) == (False, "no such table")


@pytest.mark.parametrize(
    "name",
    [HNSW, "embeddings_embedding_1024_hnsw", "domain_embeddings_embedding_4096_hnsw"],
)
def test_v21_recall_has_not_drifted_fails_when_rows_are_not_in_the_index(
    engine: sa.Engine, name: str
) -> None:
    put_clusters(engine, EVERY_INDEX[name], clusters=4, each=10)
    ensure_index(engine, search_index(name), maintenance_work_mem_mb=64)
    assert drift(engine, name).passed
    # As with a damaged graph: the index is valid and kept up to date, and rows are missing.
    spec = MEMOS.table(EVERY_INDEX[name].table)
    change(
        engine,
        f"update pg_index set indisready = false where indexrelid = 'memos.{name}'::regclass",
    )
    put_clusters(engine, EVERY_INDEX[name], clusters=4, each=10, seed=8)
    change(
        engine,
        f"update pg_index set indisready = true where indexrelid = 'memos.{name}'::regclass",
    )
    finding = drift(engine, name)
    assert not finding.passed
    assert 0.2 < finding.evidence["recall"] < 0.8
    assert finding.evidence["worst_recall"] < finding.evidence["recall"]
    assert finding.evidence["worst_probe"].startswith("(test,r")
    change(engine, f"reindex table memos.{spec.name}")
    assert drift(engine, name).passed


def test_v21_recall_has_not_drifted_fails_when_a_result_is_short(loaded: sa.Engine) -> None:
    change(
        loaded,
        f"update pg_index set indisready = false where indexrelid = 'memos.{HNSW}'::regclass",
    )
    put(loaded, INDEX, [json.dumps([1.0] * 768)])
    change(
        loaded,
        f"delete from memos.{TABLE} where source_rowid between 3 and 301",
        f"update pg_index set indisready = true where indexrelid = 'memos.{HNSW}'::regclass",
    )
    finding = drift(loaded)
    assert not finding.passed
    assert finding.observed.endswith("over 4 queries, 1 missing from a result")


@pytest.mark.parametrize("state", ["missing", "invalid"])
def test_v21_recall_has_not_drifted_fails_without_a_valid_index(
    loaded: sa.Engine, state: str
) -> None:
    if state == "missing":
        change(loaded, f"drop index memos.{HNSW}")
    else:
        invalidate(loaded, HNSW)
    finding = drift(loaded)
    assert (finding.passed, finding.observed) == (False, state)


def test_dead_rows_shorten_no_result(loaded: sa.Engine) -> None:
    # Two of ten clusters are dead in the graph; a search passes them by and goes on.
    change(loaded, f"delete from memos.{TABLE} where source_rowid < 60")
    assert drift(loaded).observed == "recall 1.000 over 20 queries"


def test_many_rows_of_one_embedding_are_equally_right(engine: sa.Engine) -> None:
    put(engine, INDEX, [json.dumps([1.0] * 768)] * 60 + [json.dumps([0.0] * 768)])
    ensure_index(engine, BUILT, maintenance_work_mem_mb=64)
    assert drift(engine).observed == "recall 1.000 over 20 queries"


@pytest.mark.parametrize("name", [HNSW, f"{HNSW}_ccnew", f"{HNSW}_ccold1"])
def test_v22_no_index_is_left_invalid_fails_and_names_what_is_left(
    loaded: sa.Engine, name: str
) -> None:
    if name != HNSW:
        change(loaded, f"create index {name} on memos.{TABLE} (source_rowid)")
    invalidate(loaded, name)
    finding = invalid(loaded)
    assert not finding.passed
    assert finding.observed.startswith(f"memos.{name} on memos.{TABLE} (")
    assert finding.evidence["invalid"] == [f"memos.{name}"]


def test_v22_no_index_is_left_invalid_fails_for_our_other_schemas_and_large_values(
    engine: sa.Engine,
) -> None:
    change(
        engine,
        "create index behind on memos_ops.chunks (run_id)",
        "create table public.theirs as select 1 as one",
        "create index theirs_idx on public.theirs (one)",
        "update pg_index set indisvalid = false where indexrelid in "
        "('memos_ops.behind'::regclass, 'public.theirs_idx'::regclass)",
        "update pg_index set indisvalid = false where indrelid = "
        f"(select reltoastrelid from pg_class where oid = 'memos.{TABLE}'::regclass)",
    )
    toast = invalid(engine).evidence["invalid"]
    assert toast[0] == "memos_ops.behind"
    assert toast[1].startswith("pg_toast.pg_toast_")
    assert len(toast) == 2


def test_v23_statistics_are_there_fails_on_a_table_that_was_never_analysed(
    engine: sa.Engine,
) -> None:
    put(engine, INDEX, [json.dumps([1.0] * 768)])
    finding = statistics(engine)
    assert not finding.passed
    assert finding.observed.startswith("none of source, id, template_type, ")
    analyze(engine, SPEC)
    assert statistics(engine).passed


def test_v23_statistics_are_there_fails_for_a_column_that_came_later(loaded: sa.Engine) -> None:
    change(loaded, f"alter table memos.{TABLE} add column later text")
    finding = statistics(loaded)
    assert (finding.passed, finding.observed) == (False, "none of later")


def test_v23_statistics_are_there_fails_when_many_rows_changed_since(loaded: sa.Engine) -> None:
    change(loaded, f"update memos.{TABLE} set source_rowid = source_rowid where source_rowid < 70")
    finding = statistics(loaded)
    assert (finding.passed, finding.observed) == (False, "70 of 302 rows changed since")


def test_v24_indexes_are_used_fails_when_nobody_searched_for_a_month(loaded: sa.Engine) -> None:
    first = use(loaded)
    assert use(loaded, some_time_ago(first, 29)).passed
    finding = use(loaded, some_time_ago(first, 30))
    assert not finding.passed
    assert finding.observed.startswith("not searched since ")
    assert finding.evidence["unused"] == 1
    # An index of no rows costs next to nothing.
    change(loaded, f"delete from memos.{TABLE}")
    assert use(loaded, some_time_ago(first, 30)).passed


def test_v24_indexes_are_used_fails_when_another_does_the_same(loaded: sa.Engine) -> None:
    change(
        loaded,
        f"create index theirs on memos.{TABLE} using hnsw "
        f"({EXPRESSION} public.halfvec_cosine_ops) with (m = 8) where dimension = 768",
        f"create index other on memos.{TABLE} using hnsw "
        f"({EXPRESSION} public.halfvec_l2_ops) where dimension = 768",
    )
    finding = use(loaded)
    assert not finding.passed
    assert finding.observed.endswith(" bytes; theirs does the same")
    assert finding.evidence["twins"] == ["theirs"]


def search_once(engine: sa.Engine) -> None:
    change(
        engine,
        "set local enable_seqscan = off",
        "set local enable_sort = off",
        f"select id from memos.{TABLE} where dimension = 768 "
        f"order by {EXPRESSION} operator(public.<=>) "
        f"'{json.dumps([1.0] * 768)}' limit 1",
    )


def test_a_search_counts_as_use_and_the_checks_own_scans_do_not(loaded: sa.Engine) -> None:
    before = some_time_ago(use(loaded), 40)
    with loaded.begin() as conn:
        assert recall_has_not_drifted(conn, MEMOS.table(TABLE).as_table, INDEX, BUILT).passed
        conn.execute(sa.text("select pg_stat_force_next_flush()"))
    after = use(loaded, before)
    assert not after.passed
    assert after.evidence["scans"] == before["scans"]
    search_once(loaded)
    after = use(loaded, before)
    assert after.passed
    assert after.observed.startswith("last searched ")
    assert after.evidence["scans"] == before["scans"] + 1


def test_where_own_scans_are_counted_a_use_is_more_than_they_may_be(
    loaded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "may_be_uncounted", lambda _: False)
    monkeypatch.setattr(health, "OWN_SCANS", 2)
    before = some_time_ago(use(loaded), 40)
    for _ in range(2):
        search_once(loaded)
    assert not use(loaded, before).passed
    search_once(loaded)
    assert use(loaded, before).passed


def test_a_rebuilt_index_and_reset_statistics_do_not_count_as_unused(loaded: sa.Engine) -> None:
    before = some_time_ago(use(loaded), 40)
    search_once(loaded)
    used = use(loaded, before)
    change(loaded, "select pg_stat_reset()")
    assert use(loaded, used.evidence).passed
    # After a rebuild it is another index: the former evidence does not apply to it.
    change(loaded, f"drop index memos.{HNSW}")
    ensure_index(loaded, BUILT, maintenance_work_mem_mb=64)
    assert use(loaded, before).passed


def test_an_older_server_without_times_of_scans_is_read_by_their_number(
    loaded: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_server", lambda _: 15)
    before = some_time_ago(use(loaded), 40)
    assert not use(loaded, before).passed
    search_once(loaded)
    assert use(loaded, before).passed


def test_a_missing_index_is_not_used(engine: sa.Engine) -> None:
    assert (use(engine).passed, use(engine).observed) == (False, "missing")


def test_checking_leaves_the_session_as_it_was(loaded: sa.Engine) -> None:
    shown = sa.text(
        "select current_setting('track_counts'), current_setting('enable_seqscan'), "
        "current_setting('hnsw.ef_search', true)"
    )
    with loaded.connect() as conn:
        before = conn.execute(shown).one()
        recall_has_not_drifted(conn, MEMOS.table(TABLE).as_table, INDEX, BUILT)
        assert conn.execute(shown).one() == before
        with uncounted(conn):
            assert conn.execute(shown).one() == ("off", *before[1:])
