"""Evaluations summed up per check."""

import pytest

from memos_assets.check import Severity
from memos_assets.checklist import CHECKLIST
from memos_assets.report.checks import check_summaries
from memos_assets.report.outcomes import CheckResult, Evaluation, Status, check_results
from memos_assets.report.verdict import checks_passed, verdict

V01 = "v01_row_counts_match"


def evaluation(
    asset: str = "memos/a",
    *,
    check: str = V01,
    passed: bool = True,
    severity: Severity = "error",
    began: float = 100.0,
) -> Evaluation:
    return Evaluation(
        asset=asset,
        check=check,
        passed=passed,
        expected="3 rows",
        observed="3 loaded",
        run_id="run",
        timestamp=began + 5,
        severity=severity,
        began=began,
    )


def result(*evaluations: Evaluation, changed: float = 0.0, missing: bool = False) -> CheckResult:
    checks = [(one.asset, one.check) for one in evaluations]
    checks += [("memos/missing", V01)] * missing
    (found,) = check_results(CHECKLIST, checks, evaluations, {"memos/a": changed})
    return found


@pytest.mark.parametrize(
    ("found", "status", "proven"),
    [
        pytest.param(result(evaluation()), "proven", True, id="green"),
        pytest.param(result(evaluation(passed=False)), "failed", False, id="red"),
        pytest.param(result(evaluation(), missing=True), "unproven", False, id="one missing"),
        pytest.param(
            result(evaluation(passed=False, severity="warning")), "open", True, id="warning"
        ),
        pytest.param(
            result(evaluation(passed=False, severity="warning"), missing=True),
            "unproven",
            False,
            id="warning and missing",
        ),
        pytest.param(result(evaluation(), changed=101.0), "unproven", False, id="stale"),
        pytest.param(result(evaluation(), changed=99.0), "proven", True, id="fresh"),
        pytest.param(
            result(evaluation(passed=False), changed=101.0), "failed", False, id="stale and red"
        ),
    ],
)
def test_a_check_is_as_good_as_its_worst_evaluation(
    found: CheckResult, status: Status, *, proven: bool
) -> None:
    assert found.status == status
    assert found.proven is proven


def test_a_check_that_is_open_does_not_make_a_consolidation_unproven_and_is_said() -> None:
    warned = result(evaluation(passed=False, severity="warning"))
    checklist = check_summaries([result(evaluation()), warned])
    concluded = verdict(checklist, [], [])
    assert concluded.proven
    assert concluded.sentence.startswith("Proven: 1 of 2 checks passed, 1 is open.")
    assert [one.asset for one in checklist[1].open] == ["memos/a"]


def test_a_failed_step_makes_a_green_checklist_not_proven() -> None:
    concluded = verdict(check_summaries([result(evaluation())]), [], ["M310 memos.a: no space"])
    assert not concluded.proven
    assert "Reasons: 1 step failed." in concluded.sentence


def test_results_are_in_the_order_of_the_checklist_and_only_of_checks_with_an_asset() -> None:
    checks = [("memos/b", "v07_nearest_uses_index"), ("memos/a", V01)]
    found = check_results(CHECKLIST, checks, [], {})
    assert [one.check.name for one in found] == [V01, "v07_nearest_uses_index"]
    assert checks_passed(check_summaries(found)) == "0 of 2 checks passed"
