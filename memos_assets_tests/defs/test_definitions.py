"""The graph as an API: what is there, by name, and what each part says about itself."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.definitions import defs
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.keys import Keys
from memos_assets.demo import write_demo
from memos_assets.postgres.copy.arrow_schema import table_schema
from memos_assets.sqlite.file import layout, opened

GRAPH = defs().resolve_asset_graph()
REPOSITORY = defs().get_repository_def()


def test_the_location_loads_without_a_database_and_without_an_environment() -> None:
    script = (
        "import warnings; warnings.simplefilter('ignore');"
        "from memos_assets.definitions import defs;"
        "repository = defs().get_repository_def();"
        "import dagster as dg; dg.Definitions.validate_loadable(defs());"
        "print(len(repository.get_all_jobs()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd="/",
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert int(done.stdout) == 40


def test_the_asset_keys_are_an_api() -> None:
    keys = sorted(key.to_user_string() for key in GRAPH.materializable_asset_keys)
    assert [key for key in keys if "/indexes/" not in key] == [
        "archive/corpus",
        "archive/embedding_aggregator",
        "archive/hybrid",
        "archive/hyperbolic_embeddings",
        "archive/meta_buffer",
        "archive/mixed_precision_embeddings",
        "archive/other_files",
        "archive/semantic_memory",
        "memos/agent/board_archive",
        "memos/agent/boards",
        "memos/agent/erasures",
        "memos/agent/graph_health",
        "memos/agent/links",
        "memos/agent/memories",
        "memos/agent/models",
        "memos/agent/outbox",
        "memos/agent/proposals",
        "memos/agent/quality",
        "memos/agent/ranking",
        "memos/agent/reembedding",
        "memos/agent/seed",
        "memos/agent/seeds",
        "memos/agent/spaces",
        "memos/agent/words",
        "memos/cache/calibration",
        "memos/cache/census",
        "memos/cache/eviction",
        "memos/corpora",
        "memos/corpus_chunks",
        "memos/corpus_documents",
        "memos/corpus_entities",
        "memos/corpus_relations",
        "memos/domain_embeddings",
        "memos/domain_relations",
        "memos/embedding_anchors",
        "memos/embeddings",
        "memos/hybrid_bm25_statistics",
        "memos/hybrid_bm25_terms",
        "memos/hybrid_documents",
        "memos/hyperbolic_documents",
        "memos/impact",
        "memos/live_version",
        "memos/memories",
        "memos/model_specs",
        "memos/quests",
        "memos/report",
        "memos/search_functions",
        "memos/semantic_links",
        "memos/semantic_memories",
        "memos/service_sources",
        "memos/snapshots/diff",
        "memos/snapshots/memory",
        "memos/snapshots/retention",
        "memos/snapshots/verified",
        "memos/thought_templates",
    ]
    assert [key.removeprefix("memos/indexes/") for key in keys if "/indexes/" in key] == [
        "corpus_chunks_embedding_768_hnsw",
        "corpus_chunks_search_text_gin",
        "corpus_documents_embedding_768_hnsw",
        "corpus_documents_search_text_gin",
        "corpus_entities_aliases_gin",
        "corpus_entities_attributes_gin",
        "corpus_entities_embedding_768_hnsw",
        "corpus_entities_search_text_gin",
        "domain_embeddings_embedding_1024_hnsw",
        "domain_embeddings_embedding_4096_hnsw",
        "domain_embeddings_search_text_gin",
        "embeddings_embedding_1024_hnsw",
        "embeddings_embedding_2560_hnsw",
        "embeddings_embedding_4096_hnsw",
        "embeddings_embedding_768_hnsw",
        "embeddings_metadata_gin",
        "embeddings_search_text_gin",
        "hybrid_documents_embedding_1024_hnsw",
        "hybrid_documents_metadata_gin",
        "hybrid_documents_search_text_gin",
        "hybrid_documents_sparse_weights_gin",
        "hyperbolic_documents_embedding_768_hnsw",
        "hyperbolic_documents_metadata_gin",
        "hyperbolic_documents_search_text_gin",
        "memories_embedding_vector_hnsw",
        "memories_entities_gin",
        "memories_tags_gin",
        "semantic_memories_attributes_gin",
        "semantic_memories_embedding_1024_hnsw",
        "semantic_memories_embedding_768_hnsw",
        "semantic_memories_search_text_gin",
        "thought_templates_domain_hints_gin",
        "thought_templates_embedding_768_hnsw",
        "thought_templates_search_text_gin",
    ]


def test_the_sources_are_observed_and_never_materialised() -> None:
    others = GRAPH.get_all_asset_keys() - set(GRAPH.materializable_asset_keys)
    assert sorted(key.to_user_string() for key in others) == [
        "memos/agent/embedder",
        "sqlite/content_cache",
        "sqlite/corpus",
        "sqlite/embedding_aggregator",
        "sqlite/hybrid",
        "sqlite/hyperbolic_embeddings",
        "sqlite/meta_buffer",
        "sqlite/mixed_precision_embeddings",
        "sqlite/other_files",
        "sqlite/scratchpad_cache",
        "sqlite/semantic_memory",
    ]
    assert all(GRAPH.get(key).is_observable for key in others)
    assert {GRAPH.get(key).group_name for key in others} == {"sources", "memory"}
    assert all(GRAPH.get(key).description for key in others)


def test_the_check_names_are_an_api() -> None:
    # Evaluations and alerts are known by them: none is renamed, and others may come.
    assert {key.name for key in GRAPH.asset_check_keys} >= {
        "v01_row_counts_match",
        "v02_rows_match_bit_for_bit",
        "v03_derived_columns_recompute",
        "v04_embedded_rows_match",
        "v05_links_lead_somewhere",
        "v06_index_is_valid",
        "v07_nearest_uses_index",
        "v08_source_unchanged_since_pin",
        "v09_source_is_accounted_for",
        "v10_embeddings_are_indexed",
        "v11_containment_uses_index",
        "v12_rejects_are_settled",
        "v13_archived_files_are_whole",
        "v14_live_version_is_complete",
        "v15_search_functions_are_ours",
        "v16_recall_is_exact_enough",
        "v17_distances_match_the_source",
        "v18_zero_and_null_never_surface",
        "v19_text_search_uses_index",
        "v20_tables_are_vacuumed",
        "v21_recall_has_not_drifted",
        "v22_no_index_is_left_invalid",
        "v23_statistics_are_there",
        "v24_indexes_are_used",
        "v25_application_tables_are_whole",
        "v33_loaded_chunks_match",
    }


def test_the_jobs_schedules_and_sensors_are_an_api() -> None:
    assert sorted(job.name for job in REPOSITORY.get_all_jobs()) == [
        "__ASSET_JOB",
        "answer_question",
        "archive_boards",
        "calibrate_cache",
        "check_boards",
        "check_cache",
        "check_index_health",
        "check_memory",
        "check_snapshots",
        "count_boards",
        "embed_waiting_memories",
        "evict_cache",
        "index_check_report",
        "maintain_indexes",
        "maintain_memory_models",
        "measure_impact",
        "migrate_corpus",
        "migrate_embedding_aggregator",
        "migrate_hybrid",
        "migrate_hyperbolic_embeddings",
        "migrate_meta_buffer",
        "migrate_mixed_precision_embeddings",
        "migrate_semantic_memory",
        "observe_corpus",
        "observe_embedder",
        "observe_embedding_aggregator",
        "observe_files_in_place",
        "observe_hybrid",
        "observe_hyperbolic_embeddings",
        "observe_meta_buffer",
        "observe_mixed_precision_embeddings",
        "observe_semantic_memory",
        "prune_snapshots",
        "report_archive",
        "retire_files",
        "seed_memory",
        "snapshot_memory",
        "verify_checklist",
        "verify_remediation_plan",
        "write_report",
    ]
    assert sorted(schedule.name for schedule in REPOSITORY.schedule_defs) == [
        "archive_boards_hourly",
        "backfill_corpus",
        "backfill_embedding_aggregator",
        "backfill_hybrid",
        "backfill_hyperbolic_embeddings",
        "backfill_meta_buffer",
        "backfill_mixed_precision_embeddings",
        "backfill_semantic_memory",
        "calibrate_cache_daily",
        "check_boards_daily",
        "check_cache_hourly",
        "check_daily",
        "check_health_daily",
        "check_memory_daily",
        "check_snapshots_daily",
        "count_boards_daily",
        "embed_waiting_memories",
        "embed_waiting_memories_of_memos",
        "evict_cache_often",
        "maintain_memory_models",
        "observe_embedder",
        "prune_snapshots_daily",
        "snapshot_memory",
    ]
    assert sorted(sensor.name for sensor in REPOSITORY.sensor_defs) == [
        "build_due_indexes",
        "post_failed_checks",
    ]


def test_every_asset_says_who_owns_it_what_it_is_and_where_it_belongs() -> None:
    bare = [
        key.to_user_string()
        for key in GRAPH.materializable_asset_keys
        if not (node := GRAPH.get(key)).owners or not node.description or not node.kinds
    ]
    assert bare == []
    groups = {GRAPH.get(key).group_name for key in GRAPH.materializable_asset_keys}
    assert groups == {
        "application",
        "archive",
        "cache",
        "impact",
        "indexes",
        "memory",
        "report",
        "search",
        "snapshots",
        "tables",
        "versions",
    }


def test_every_kind_of_file_has_one_partitions_definition_of_its_own() -> None:
    names = set()
    for kind in MEMOS.consolidated:
        definitions = {
            GRAPH.get(Keys(MEMOS.names).table(spec.name)).partitions_def for spec in kind.tables
        }
        definitions.add(GRAPH.get(dg.AssetKey(["sqlite", kind.name])).partitions_def)
        (definition,) = definitions
        assert isinstance(definition, dg.DynamicPartitionsDefinition)
        names.add(definition.name)
        job = REPOSITORY.get_job(f"migrate_{kind.name}")
        assert job.partitions_def == definition
    assert len(names) == len(MEMOS.consolidated)


def test_every_run_executes_in_process_and_every_table_loads_many_chunks_in_one_run() -> None:
    for job in REPOSITORY.get_all_jobs():
        assert job.executor_def is dg.in_process_executor
    for spec in MEMOS.tables:
        policy = GRAPH.get(Keys(MEMOS.names).table(spec.name)).backfill_policy
        assert policy == dg.BackfillPolicy.single_run()


@pytest.mark.parametrize("spec", MEMOS.tables, ids=[spec.name for spec in MEMOS.tables])
def test_a_table_says_what_its_columns_are_and_which_sqlite_columns_they_come_from(
    spec: object, sqlite_columns: dict[str, frozenset[str]]
) -> None:
    spec = next(one for one in MEMOS.tables if one is spec)
    node = GRAPH.get(Keys(MEMOS.names).table(spec.name))
    assert node.metadata["dagster/table_name"] == f"memos.{spec.name}"
    assert node.code_version == spec.fingerprint
    schema = node.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    names = [column.name for column in schema.columns]
    assert names == table_schema(spec).names
    assert {column.name for column in schema.columns if not column.constraints.nullable} == {
        *spec.primary_key,
        "chunk",
        "source_rowid",
    }
    lineage = node.metadata["dagster/column_lineage"]
    assert isinstance(lineage, dg.TableColumnLineage)
    # What is not copied from a column is where the row comes from.
    assert set(names) - set(lineage.deps_by_column) == {"source", "chunk", "source_rowid"}
    kind = MEMOS.kind_of_table(spec.name)
    optional = {f"{spec.origin}.{column.origin}" for column in spec.columns if column.optional}
    for deps in lineage.deps_by_column.values():
        assert deps
        for dep in deps:
            assert dep.asset_key == dg.AssetKey(["sqlite", kind.name])
            assert dep.column_name in sqlite_columns[kind.name] | optional


@pytest.fixture(scope="module")
def sqlite_columns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, frozenset[str]]:
    """Return the ``table.column`` names that memOS's layouts really have, by kind of file."""
    folder = tmp_path_factory.mktemp("layouts") / "demo"
    write_demo(folder, scale="small", seed=1, factor=0.05)
    found: dict[str, frozenset[str]] = {}
    for file in find_files(MEMOS, [Root.parse(str(folder))]):
        if file.kind is not None and file.treatment == "consolidate":
            with opened(Path(file.path)) as connection:
                names = {
                    f"{table}.{column}"
                    for table, columns in layout(connection).items()
                    for column in columns
                }
            found[file.kind.name] = found.get(file.kind.name, frozenset()) | names
    assert set(found) == {kind.name for kind in MEMOS.kinds if kind.disposition == "consolidate"}
    return found


def test_an_index_says_how_it_searches_and_on_which_table() -> None:
    key = dg.AssetKey(["memos", "indexes", "embeddings_embedding_4096_hnsw"])
    node = GRAPH.get(key)
    assert node.metadata["strategy"] == (
        "HNSW on 4096 sign bits (hamming), 100 candidates re-ranked by exact cosine"
    )
    assert node.metadata["dagster/table_name"] == "memos.embeddings"
    assert node.parent_keys == {dg.AssetKey(["memos", "embeddings"])}


def test_alerts_are_watched_for_of_every_check() -> None:
    assert sorted(check_keys(CHECKLIST, MEMOS)) == sorted(GRAPH.asset_check_keys)


def test_evaluations_are_kept_of_every_check_and_of_no_other() -> None:
    made = sorted(CHECKLIST.places(MEMOS))
    assert made == sorted(
        (key.asset_key.to_user_string(), key.name) for key in GRAPH.asset_check_keys
    )
    assert len(made) == len(set(made))
