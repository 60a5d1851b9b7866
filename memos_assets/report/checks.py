"""The checklist in a report and in ``--json``: one mapping of results for both."""

from collections.abc import Iterable, Mapping

from memos_assets.report.formatting import moment
from memos_assets.report.outcomes import CheckResult, Evaluation
from memos_assets.report.tree import CheckSummary, Evaluated

#: Faults of an evaluation that are named.
NAMED = 3


def check_summaries(found: Iterable[CheckResult]) -> tuple[CheckSummary, ...]:
    """Return every check with every asset on which it was evaluated."""
    return tuple(_checked(result) for result in found)


def _checked(result: CheckResult) -> CheckSummary:
    check = result.check
    return CheckSummary(
        check=check.label,
        name=check.name,
        statement=check.title,
        fix=check.fix,
        status=result.status,
        proven=result.proven,
        passed=result.passed,
        total=result.total,
        failed=_evaluated(result.failed),
        open=_evaluated(result.open),
        stale=_evaluated(result.stale),
        unproven=tuple(result.unproven),
        evaluations=_evaluated(result.evaluations),
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
            faults=evaluation.faults[:NAMED],
            more_faults=max(0, evaluation.fault_count - NAMED),
            differences=_differences(evaluation)[:NAMED],
        )
        for evaluation in evaluations
    )


def _differences(evaluation: Evaluation) -> tuple[Mapping[str, str], ...]:
    found = evaluation.metadata.get("differences")
    return tuple(found) if isinstance(found, list) and not evaluation.passed else ()
