"""What evaluations say together of a claim."""

import pytest

from memos_assets.checklist import CLAIMS
from memos_assets.report.checks import checked_claims
from memos_assets.report.outcomes import ClaimOutcome, Evaluation, Severity, Status, outcomes
from memos_assets.report.verdict import claims_hold, verdict

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


def outcome(*evaluations: Evaluation, changed: float = 0.0, missing: bool = False) -> ClaimOutcome:
    checks = [(one.asset, one.check) for one in evaluations]
    checks += [("memos/missing", V01)] * missing
    (found,) = outcomes(checks, evaluations, {"memos/a": changed})
    return found


@pytest.mark.parametrize(
    ("found", "status", "proven"),
    [
        pytest.param(outcome(evaluation()), "proven", True, id="green"),
        pytest.param(outcome(evaluation(passed=False)), "failed", False, id="red"),
        pytest.param(outcome(evaluation(), missing=True), "unproven", False, id="one missing"),
        pytest.param(
            outcome(evaluation(passed=False, severity="warning")), "open", True, id="warning"
        ),
        pytest.param(
            outcome(evaluation(passed=False, severity="warning"), missing=True),
            "unproven",
            False,
            id="warning and missing",
        ),
        pytest.param(outcome(evaluation(), changed=101.0), "unproven", False, id="stale"),
        pytest.param(outcome(evaluation(), changed=99.0), "proven", True, id="fresh"),
        pytest.param(
            outcome(evaluation(passed=False), changed=101.0), "failed", False, id="stale and red"
        ),
    ],
)
def test_a_claim_is_as_good_as_its_worst_evaluation(
    found: ClaimOutcome, status: Status, *, proven: bool
) -> None:
    assert found.status == status
    assert found.proven is proven


def test_a_claim_that_is_open_does_not_make_a_consolidation_unproven_and_is_said() -> None:
    warned = outcome(evaluation(passed=False, severity="warning"))
    checklist = checked_claims([outcome(evaluation()), warned])
    concluded = verdict(checklist, [], [])
    assert concluded.proven
    assert concluded.sentence.startswith("Proven: 1 of 2 claims hold, 1 is open.")
    assert [one.asset for one in checklist[1].open] == ["memos/a"]


def test_a_failed_step_makes_a_green_checklist_not_proven() -> None:
    concluded = verdict(checked_claims([outcome(evaluation())]), [], ["M310 memos.a: no space"])
    assert not concluded.proven
    assert "Against it: 1 step failed." in concluded.sentence


def test_claims_come_in_the_order_of_the_checklist_and_only_those_that_are_made() -> None:
    checks = [("memos/b", "v07_nearest_uses_index"), ("memos/a", V01)]
    found = outcomes(checks, [], {})
    assert [one.claim for one in found] == [CLAIMS[V01], CLAIMS["v07_nearest_uses_index"]]
    assert claims_hold(checked_claims(found)) == "0 of 2 claims hold"
