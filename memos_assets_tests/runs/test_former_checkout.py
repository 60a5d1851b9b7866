"""A database of the checkout before the rooms is taken over: the demo is loaded as it was.

That checkout (2026-11-24) wrote former_checkout.json, from the demo of scale small, seed 1, factor
0.2. Only a change that is meant to make loaded chunks stale may change a value in it. Version 3 of
the decoder changed the ledger and the code versions: what a parser lost is rejected since then.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import dagster as dg

from memos_assets.check import Group
from memos_assets.checklist import CHECKLIST
from memos_assets_tests.defs.world import World, location

FORMER: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("former_checkout.json").read_text("utf-8")
)

LEDGER = """
    select table_name, source, chunk, digest, code_version, rows, rejected, mirrored
    from memos_ops.chunks where target = 'memos' order by 1, 2, 3
"""
REJECTS = """
    select source, table_name, source_rowid, key, reason, detail, row_digest
    from memos_ops.rejects order by 1, 2, 3
"""
INDEX_MARKS = """
    select c.relname, split_part(obj_description(c.oid, 'pg_class'), '; ', 1)
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'i' and n.nspname in ('memos', 'public')
        and obj_description(c.oid, 'pg_class') is not null
"""
FUNCTIONS = """
    select p.proname, pg_get_functiondef(p.oid)
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'memos'
"""

#: Came after it, with the memory of agents.
#: Assets and groups of checks that the former checkout has not.
OF_MEMORY = ("memos/agent/", "memos/snapshots/", "memos/cache/")
GROUPS_OF_MEMORY: tuple[Group, ...] = ("memory", "snapshots", "cache", "boards")
JOBS_OF_MEMORY = {
    "answer_question",
    "archive_boards",
    "check_boards",
    "count_boards",
    "calibrate_cache",
    "check_cache",
    "check_memory",
    "check_snapshots",
    "embed_waiting_memories",
    "evict_cache",
    "maintain_memory_models",
    "observe_embedder",
    "prune_snapshots",
    "seed_memory",
    "snapshot_memory",
    "verify_remediation_plan",
}
SCHEDULES_OF_MEMORY = {
    "archive_boards_hourly",
    "check_boards_daily",
    "count_boards_daily",
    "calibrate_cache_daily",
    "check_cache_hourly",
    "check_memory_daily",
    "check_snapshots_daily",
    "embed_waiting_memories",
    "embed_waiting_memories_of_memos",
    "evict_cache_often",
    "maintain_memory_models",
    "observe_embedder",
    "prune_snapshots_daily",
    "snapshot_memory",
}


def is_of_memory(asset: str) -> bool:
    return asset.startswith(OF_MEMORY) or asset == "memos/service_sources"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rows_of(world: World, table: str) -> str:
    found = [text for (text,) in world.rows(f'select x::text from memos."{table}" x')]
    return sha("\n".join(sorted(found)))


def assert_as_the_former_checkout_loads(world: World) -> None:
    """Assert that rows, ledger, rejects, functions and index marks are those of the former one."""
    former = FORMER["database"]
    ledger: dict[str, list[list[Any]]] = {}
    for table, *chunk in world.rows(LEDGER):
        ledger.setdefault(table, []).append(list(chunk))
    assert {table: sha(json.dumps(chunks)) for table, chunks in ledger.items()} == former["ledger"]
    assert {table: rows_of(world, table) for table in former["rows"]} == former["rows"]
    rejects = [[str(value) for value in row] for row in world.rows(REJECTS)]
    assert sha(json.dumps(rejects)) == former["rejects"]
    assert dict(world.rows(INDEX_MARKS)) == former["index_marks"]
    assert {name: sha(text) for name, text in world.rows(FUNCTIONS)} == former["functions"]


def test_assets_checks_and_code_versions_are_those_of_the_former_checkout() -> None:
    former, graph = FORMER["definitions"], location().get_repository_def().asset_graph
    keys = {key.to_user_string(): key for key in graph.get_all_asset_keys()}
    assert sorted(name for name in keys if not is_of_memory(name)) == former["assets"]
    versions = {name: graph.get(key).code_version for name, key in keys.items()}
    assert {key: version for key, version in versions.items() if version} == former["code_versions"]
    checks: dict[str, list[str]] = {}
    of_memory = {check.name for group in GROUPS_OF_MEMORY for check in CHECKLIST.of_group(group)}
    of_memory.add("v66_retired_files_are_unused")
    for check in graph.asset_check_keys:
        if check.name in of_memory:
            continue
        checks.setdefault(check.asset_key.to_user_string(), []).append(check.name[:3].upper())
    assert {asset: " ".join(sorted(names)) for asset, names in checks.items()} == former["checks"]


def test_jobs_partitions_and_ticks_have_the_names_of_the_former_checkout() -> None:
    former, repository = FORMER["definitions"], location().get_repository_def()
    graph = repository.asset_graph
    partitions = (graph.get(key).partitions_def for key in graph.get_all_asset_keys())
    named = {p.name for p in partitions if isinstance(p, dg.DynamicPartitionsDefinition)}
    assert sorted(map(str, named)) == former["partitions"]
    jobs = {job.name for job in repository.get_all_jobs()}
    assert jobs - set(former["jobs"]) == {"retire_files", *JOBS_OF_MEMORY}
    assert set(former["jobs"]) <= jobs
    schedules = {one.name for one in repository.schedule_defs}
    assert schedules - set(former["schedules"]) == SCHEDULES_OF_MEMORY
    assert set(former["schedules"]) <= schedules
    assert sorted(one.name for one in repository.sensor_defs) == former["sensors"]
