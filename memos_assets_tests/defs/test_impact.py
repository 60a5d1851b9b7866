"""The asset `memos/impact`: its numbers, its plot, and its refusals."""

import dagster as dg
import pytest

from memos_assets.defs.jobs import FINISH
from memos_assets.impact import measure as measuring
from memos_assets.impact.measure import INDEX
from memos_assets_tests.defs.world import QUIET, World, failures, location

KEY = dg.AssetKey(["memos", "impact"])


def measure(world: World, **config: object) -> dg.ExecuteInProcessResult:
    job = location().resolve_job_def("measure_impact")
    return job.execute_in_process(
        instance=world.instance,
        raise_on_error=False,
        run_config={"ops": {"memos__impact": {"config": config}}, **QUIET},
    )


def test_the_asset_shows_its_plot_its_table_and_numbers_to_follow(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "INDEX_QUERIES", 5)
    result = measure(world, rows=[20, 200], dimension=768)
    assert failures(result) == []
    (made,) = result.asset_materializations_for_node("memos__impact")
    shown = made.metadata
    plot = shown["plot"].value
    assert isinstance(plot, str)
    assert plot.startswith("![Milliseconds of a search over rows")
    assert "](data:image/svg+xml;base64," in plot
    table = shown["measured"]
    assert isinstance(table, dg.TableMetadataValue)
    ours = [record.data["rows"] for record in table.records if record.data["way"] == INDEX]
    assert ours == [20, 200]
    for rows in (20, 200):
        for name in ("ratio", "index_p50_ms", "scan_p50_ms", "recall_at_10", "build_seconds"):
            assert isinstance(shown[f"{name}_{rows}"].value, int | float)
    assert "At 200 rows of 768 elements" in str(shown["summary"].value)


def test_what_cannot_be_measured_fails_the_run_with_one_line(world: World) -> None:
    (said,) = failures(measure(world, rows=[0]))
    assert said.startswith("M585 rows: 0 rows cannot be measured. Fix: ")


def test_no_job_of_a_consolidation_measures_the_impact() -> None:
    job = location().resolve_job_def(FINISH)
    assert KEY.to_python_identifier() not in job.graph.node_dict
