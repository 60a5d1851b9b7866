"""The checklist in a report and in ``--json``: one mapping of outcomes for both."""

from collections.abc import Iterable

from memos_assets.report.formatting import moment
from memos_assets.report.outcomes import ClaimOutcome, Evaluation
from memos_assets.report.tree import CheckedClaim, Evaluated


def checked_claims(found: Iterable[ClaimOutcome]) -> tuple[CheckedClaim, ...]:
    """Return every claim with every asset on which it was evaluated."""
    return tuple(_checked(outcome) for outcome in found)


def _checked(outcome: ClaimOutcome) -> CheckedClaim:
    claim = outcome.claim
    return CheckedClaim(
        check=claim.label,
        name=claim.name,
        claim=claim.claim,
        fix=claim.fix,
        status=outcome.status,
        proven=outcome.proven,
        passed=outcome.passed,
        total=outcome.total,
        failed=_evaluated(outcome.failed),
        open=_evaluated(outcome.open),
        stale=_evaluated(outcome.stale),
        unproven=tuple(outcome.unproven),
        evaluations=_evaluated(outcome.evaluations),
    )


def _evaluated(evaluations: Iterable[Evaluation]) -> tuple[Evaluated, ...]:
    return tuple(
        Evaluated(
            asset=evaluation.asset,
            status=evaluation.status,
            stale=evaluation.stale,
            expected=evaluation.expected,
            observed=evaluation.observed,
            evaluated_at=moment(evaluation.timestamp),
            run=evaluation.run_id,
        )
        for evaluation in evaluations
    )
