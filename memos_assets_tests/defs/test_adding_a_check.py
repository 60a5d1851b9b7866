"""The code of docs/adding-a-check.md works, and a new check is wherever checks are."""

import re
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import AnyCheck, Checklist
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.checks.steps import check_keys, check_steps
from memos_assets.defs.resources import Postgres
from memos_assets.report.checks import check_summaries
from memos_assets.report.evaluations import checklist_results
from memos_assets.report.verdict import verdict
from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.defs.world import World
from tools.checklist_page import checklist_part

PAGE = PROJECT_ROOT / "docs" / "adding-a-check.md"
NAME = "v90_tables_are_logged"
TEMPLATES = dg.AssetKey(["memos", "thought_templates"])


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Return what the code of the page defines."""
    defined: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
        exec(compile(block, PAGE.name, "exec"), defined)
    return defined


@pytest.fixture(scope="module")
def checklist(page: dict[str, Any]) -> Checklist:
    """Return the checklist as it is with the check of the page."""
    return Checklist.gather(CHECKLIST, page["CHECKS"])


def evaluate(world: World, checklist: Checklist) -> dg.AssetCheckEvaluation:
    """Run the check on one asset, in the step that judges the rows of that asset."""
    key = dg.AssetCheckKey(TEMPLATES, NAME)
    job = dg.define_asset_job("one", selection=dg.AssetSelection.checks(key))
    location = dg.Definitions(
        asset_checks=check_steps(checklist, MEMOS), jobs=[job], resources={"postgres": Postgres()}
    )
    result = location.resolve_job_def("one").execute_in_process(instance=world.instance)
    (evaluation,) = result.get_asset_check_evaluations()
    assert [event.step_key for event in result.all_events if event.is_step_start] == [
        "meta_buffer_rows"
    ]
    return evaluation


def test_the_test_of_the_page_passes(page: dict[str, Any], engine: sa.Engine) -> None:
    (test,) = (value for name, value in page.items() if name.startswith(f"test_{NAME}_fails"))
    run: Callable[[sa.Engine], None] = test
    run(engine)


def test_a_new_check_is_an_asset_check_of_everything_that_it_is_about(checklist: Checklist) -> None:
    new = {
        key.asset_key.to_user_string() for key in check_keys(checklist, MEMOS) if key.name == NAME
    }
    assert new == {MEMOS.names.table(spec.name) for spec in MEMOS.tables}
    specs = [spec for step in check_steps(checklist, MEMOS) for spec in step.check_specs]
    assert len(specs) == len(CHECKLIST.places(MEMOS)) + len(MEMOS.tables)
    (spec,) = (one for one in specs if one.name == NAME and one.asset_key == TEMPLATES)
    assert spec.description == (
        "V90: Every consolidated table is written to the log, so that a crash loses no row."
    )
    assert spec.metadata["fix"] == "alter table TABLE set logged"


def test_a_new_check_is_in_the_verdict(checklist: Checklist, world: World) -> None:
    assert evaluate(world, checklist).passed
    world.execute("alter table memos.thought_templates set unlogged")
    assert not evaluate(world, checklist).passed
    with world.engine.connect() as conn:
        results = checklist_results(conn, MEMOS, checklist=checklist.of_group("proof"))
    assert results[-1].check.name == NAME
    (failed,) = results[-1].failed
    assert (failed.asset, failed.expected, failed.observed) == (
        "memos/thought_templates",
        "logged",
        "unlogged",
    )
    assert "1 check failed" in verdict(check_summaries(results), [], []).sentence


def test_a_new_check_has_a_row_and_a_section_in_the_docs(page: dict[str, Any]) -> None:
    part = checklist_part(page["CHECKS"])
    assert "| [V90](#v90-tables_are_logged) `tables_are_logged` | each table | Every con" in part
    assert "\n## V90 tables_are_logged\n" in part


def test_two_checks_cannot_have_the_same_number(page: dict[str, Any]) -> None:
    check: AnyCheck = page["CHECKS"][0]
    with pytest.raises(ValueError, match="more than one check has the number 90"):
        Checklist.gather([check], [check])
