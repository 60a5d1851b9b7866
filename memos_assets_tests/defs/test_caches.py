"""The cache of agents in Dagster: counted, checked, calibrated; no query and no user is shown."""

import json
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.orm import sessionmaker

from memos_assets.cache import Scope, SyncCache
from memos_assets.cache.thresholds import in_force
from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.caches import CALIBRATE, CHECK, EVICT
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.jobs import FINISH, HEALTH, MEMORY
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets_tests.defs.world import World, failures, location

CANARY = "canary-5f1c"
V52 = "v52_wrong_hits_are_within_budget"


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    (made,) = result.asset_materializations_for_node(f"memos__cache__{name}")
    return {key: value.value for key, value in made.metadata.items()}


def outcomes(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_checks_of_the_cache_are_in_its_jobs_and_in_no_other() -> None:
    keys = set(check_keys(CHECKLIST.of_group("cache"), MEMOS))
    assert [key.name.partition("_")[0] for key in sorted(keys)] == [
        *("v52", "v51", "v53", "v54", "v55", "v56"),
    ]
    repository = location().get_repository_def()
    found = {
        name: set(repository.get_job(name).asset_layer.asset_graph.asset_check_keys) & keys
        for name in (CHECK, CALIBRATE, MEMORY, FINISH, HEALTH)
    }
    assert found.pop(CHECK) == keys
    assert {key.name for key in found.pop(CALIBRATE)} == {V52}
    assert not any(found.values())


def test_the_job_counts_and_checks_and_shows_no_query_and_no_user(world: World) -> None:
    sessions = sessionmaker(world.engine)
    cache = SyncCache(DeterministicEmbedder(64))
    scope = Scope(user="user-4711")
    for _ in range(4):
        found = cache.get_or_compute(
            sessions,
            namespace="answers",
            query=f"Where is {CANARY}?",
            compute=lambda: {"answer": CANARY},
            scope=scope,
        )
    cache.flush(sessions)
    world.execute(
        "insert into agent.cache_pairs (namespace, user_id, asked, matched, pair, wrong, origin) "
        f"values ('answers', 'user-4711', '{CANARY}', 'x', '', true, 'feedback')"
    )
    assert found.origin == "exact"

    result = world.run(CHECK)
    assert failures(result) == []
    counted = metadata(result, "census")
    assert (counted["dagster/row_count"], counted["asks"], counted["hit_rate"]) == (1, 4, 0.75)
    assert (counted["misses: absent"], counted["wrong_hit_rate"]) == (1, round(1 / 3, 4))
    assert counted["bytes"] == len(json.dumps({"answer": CANARY})) + len(f"Where is {CANARY}?")
    for name in ("hits and misses", "misses by reason", "hit rate by hour", "wrong hits"):
        assert "data:image/svg+xml;base64," in str(counted[name])
    found_outcomes = outcomes(result)
    assert set(found_outcomes) == {check.name for check in CHECKLIST.of_group("cache")}
    assert [name for name, one in found_outcomes.items() if not one.passed] == []
    world.execute(
        "update agent.cache_entries set expires_at = now() - interval '1 h', "
        "stale_until = now() - interval '1 h'"
    )
    assert metadata(world.run(CHECK), "census")["dagster/row_count"] == 1
    removed = metadata(world.run(EVICT), "eviction")
    assert (removed["expired"], removed["over limits"]) == (1, 0)
    assert "data:image/svg+xml;base64," in str(removed["removed"])
    assert world.rows("select count(*) from agent.cache_entries") == [(0,)]
    said = "\n".join(str(event) for event in world.instance.all_logs(result.run_id))
    assert CANARY not in said
    assert "user-4711" not in said


def test_thresholds_are_measured_put_in_force_and_refused_when_labels_refute_them(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert metadata(world.run(CALIBRATE), "calibration") == {
        "thresholds": "MEMOS_EMBEDDER is not set"
    }
    pairs = tmp_path / "pairs.jsonl"
    # The embedder counts words: pairs of the same have most of their words in common.
    lines: list[dict[str, str | bool]] = [
        {
            "a": f"how is part{n} of it cleaned",
            "b": f"how is part{n} of it cleaned up",
            "label": True,
        }
        for n in range(40)
    ]
    lines += [
        {"a": f"how is part{n} cleaned", "b": f"when was tool{n} bought", "label": False}
        for n in range(200)
    ]
    pairs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setenv("MEMOS_CACHE_PAIRS", str(pairs))
    monkeypatch.setenv("MEMOS_EMBEDDER", "deterministic")

    result = world.run(CALIBRATE)
    assert failures(result) == []
    shown = metadata(result, "calibration")
    assert shown["labelled pairs"] == 240
    assert "data:image/svg+xml;base64," in str(shown["curve of answers"])
    assert outcomes(result)[V52].passed
    with world.engine.connect() as conn:
        (answers,) = [one for one in in_force(conn) if one.namespace == "answers"]
    assert answers.threshold == shown["threshold_answers"]

    # Somebody lowers it by hand.
    world.execute("update agent.cache_thresholds set threshold = 0.1, upper_bound = 0.01")
    result = world.run(CHECK)
    assert not outcomes(result)[V52].passed
    (failure,) = failures(result)
    assert "1 blocking asset check failed" in failure
    assert V52 in failure
