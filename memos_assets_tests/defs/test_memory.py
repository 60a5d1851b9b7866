"""The memory of agents in Dagster: counted, measured, checked and seeded."""

from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.jobs import FINISH, HEALTH, MEMORY
from memos_assets.memory import SyncMemory
from memos_assets.memory.quality_checks import NAME, baseline
from memos_assets.runs.seed_runs import delete_seed_runs
from memos_assets.settings import Settings
from memos_assets_tests.defs.world import QUIET, World, failures, location

QUALITY = dg.AssetKey(["memos", "agent", "quality"])
SECRET = "Anna's PIN is 4711 canary-9d2e"


def metadata(result: dg.ExecuteInProcessResult, name: str) -> dict[str, object]:
    (made,) = result.asset_materializations_for_node(f"memos__agent__{name}")
    return {key: value.value for key, value in made.metadata.items()}


def test_the_daily_job_has_every_check_of_memory_and_no_other_job_has_one() -> None:
    keys = set(check_keys(CHECKLIST.of_group("memory"), MEMOS))
    repository = location().get_repository_def()
    assert {key.name.partition("_")[0] for key in keys} >= {"v34", "v41", "v42"}
    for name in (MEMORY, FINISH, HEALTH):
        selected = repository.get_job(name).asset_layer.executable_asset_keys
        checks = set(repository.get_job(name).asset_layer.asset_graph.asset_check_keys)
        assert (checks >= keys) if name == MEMORY else not (checks & keys), name
        assert (QUALITY in selected) == (name == MEMORY)


def test_the_job_counts_measures_and_checks_and_shows_no_text_and_no_user(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    memory = SyncMemory(Settings())
    with Session(world.engine) as session, session.begin():
        memory.act_as(session, user="user-4711")
        kept = memory.remember(session, memory.prepare(SECRET))
        memory.remember(session, memory.prepare("Another fact of theirs."))
        memory.retract(session, kept.id)
    (tmp_path / "service.py").write_text("from x import SessionLocal\nSessionLocal()\n")
    monkeypatch.setenv("MEMOS_SESSIONS_PATH", str(tmp_path))

    result = world.run(MEMORY)
    assert failures(result) == []
    counted = metadata(result, "memories")
    assert (counted["memories"], counted["current"], counted["wrong"]) == (2, 1, 1)
    assert metadata(result, "spaces")["dagster/row_count"] == 1
    assert metadata(result, "erasures")["last"] == "none so far"
    ranking = metadata(result, "ranking")
    assert (ranking["model"], ranking["stored"]) == (
        "none is registered",
        "no, the weights are as before",
    )
    quality = metadata(result, "quality")
    assert str(quality["plot"]).startswith("![Recall@10 by category")
    assert isinstance(quality["recall_at_10_all"], float)
    assert isinstance(quality["mrr_multi_hop"], float)
    graph = metadata(result, "graph_health")
    assert (graph["memories"], graph["share_isolated"]) == (1, 1.0)
    assert str(graph["plot"]).startswith("![Memories by the number of linked")

    outcomes = {one.check_name: one for one in result.get_asset_check_evaluations()}
    assert set(outcomes) == {check.name for check in CHECKLIST.of_group("memory")}
    assert outcomes[NAME].passed
    red = outcomes["v42_sources_keep_the_session_rules"]
    assert (red.passed, red.metadata["broken"].value) == (False, {"S001": 1})

    events = world.instance.all_logs(result.run_id)
    said = "\n".join(str(event) for event in events)
    assert "canary-9d2e" not in said
    assert "user-4711" not in said


def quality_of(world: World, **config: object) -> dg.ExecuteInProcessResult:
    return (
        location()
        .resolve_job_def(MEMORY)
        .execute_in_process(
            instance=world.instance,
            raise_on_error=False,
            asset_selection=[QUALITY],
            run_config={"ops": {"memos__agent__quality": {"config": config}}, **QUIET},
        )
    )


def test_v41_compares_with_the_stored_run_until_a_worse_one_is_accepted(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def ask(text: str) -> str:
        questions = "".join(
            f"- {{text: {text}{number}, evidence: [m{number}], category: all of them}}\n"
            for number in range(20)
        )
        memories = "".join(f"- {{id: m{n}, text: fact number{n}}}\n" for n in range(20))
        return f"memories:\n{memories}questions:\n{questions}"

    path = tmp_path / "golden.yaml"
    monkeypatch.setenv("MEMOS_GOLDEN_QUERIES", str(path))
    path.write_text(ask("number"))

    def v41() -> bool:
        result = world.run(MEMORY)
        (one,) = (e for e in result.get_asset_check_evaluations() if e.check_name == NAME)
        return one.passed

    assert v41()
    with world.engine.connect() as conn:
        first = baseline(conn, MEMOS)
    assert first is not None
    assert len(first.scores) == 20
    assert v41()
    # Nothing is found any more: the words of the memories are another language's.
    path.write_text(path.read_text().replace("text: fact number", "text: Tatsache zahl"))
    assert not v41()
    assert not v41()
    assert failures(quality_of(world, accept=True)) == []
    assert v41()


def seeded(world: World, **config: str) -> dg.ExecuteInProcessResult:
    return (
        location()
        .resolve_job_def("seed_memory")
        .execute_in_process(
            instance=world.instance,
            raise_on_error=False,
            run_config={"ops": {"memos__agent__seed": {"config": config}}, **QUIET},
        )
    )


def test_the_seed_asset_seeds_a_user_once_and_refuses_an_unknown_source(world: World) -> None:
    with world.engine.begin() as conn:
        conn.exec_driver_sql(
            "insert into memos.semantic_memories (source, id, memory_type, content, "
            "embedding_reason, chunk, source_rowid) select 's', 'm' || n, 'finding', 'fact ' || n, "
            "'missing', 0, n from generate_series(1, 3) n"
        )
    result = seeded(world, user="u1", source="s")
    assert failures(result) == []
    shown = metadata(result, "seed")
    assert (shown["sources"], shown["new"]) == (1, 3)
    assert "fact 1" not in str(shown)
    again = seeded(world, user="u1")
    assert (metadata(again, "seed")["new"], failures(again)) == (0, [])
    assert metadata(seeded(world), "seed")["new"] == 0
    (said,) = failures(seeded(world, user="u1", source="nothing"))
    assert said.startswith("M720 source nothing: ")


def test_runs_whose_configuration_names_a_user_are_deleted_and_no_others(world: World) -> None:
    for user in ("u1", "u1", "u12"):
        seeded(world, user=user)
    world.run(MEMORY)
    assert delete_seed_runs(world.instance, MEMOS.names, "u1") == 2
    kept = [run.run_config["ops"] for run in world.instance.get_runs() if run.job_name != MEMORY]
    assert kept == [{"memos__agent__seed": {"config": {"user": "u12"}}}]
    assert len(world.instance.get_runs()) == 2
    assert delete_seed_runs(world.instance, MEMOS.names, "u1") == 0
