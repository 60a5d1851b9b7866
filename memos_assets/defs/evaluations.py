"""Read the checklist's latest outcomes back from a Dagster instance."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from memos_assets.checklist import CHECKLIST, CLAIMS, Claim


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one check."""

    asset: str
    check: str
    passed: bool
    expected: str
    observed: str
    description: str
    run_id: str
    timestamp: float
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """A claim of the checklist over all the assets it is made about."""

    claim: Claim
    passed: int
    failed: Sequence[Evaluation]
    unproven: Sequence[str]

    @property
    def proven(self) -> bool:
        """Whether the claim holds wherever it is made."""
        return not self.failed and not self.unproven


def evaluation_of(key: dg.AssetCheckKey, record: AssetCheckExecutionRecord) -> Evaluation | None:
    """Return the evaluation that an execution ended with, None while there is none."""
    entry = record.event
    event = entry.dagster_event if entry is not None else None
    if (
        entry is None
        or event is None
        or event.event_type is not dg.DagsterEventType.ASSET_CHECK_EVALUATION
    ):
        return None
    evaluation = event.asset_check_evaluation_data
    metadata = {name: value.value for name, value in evaluation.metadata.items()}
    return Evaluation(
        asset=key.asset_key.to_user_string(),
        check=key.name,
        passed=evaluation.passed,
        expected=str(metadata.get("expected", "")),
        observed=str(metadata.get("observed", "")),
        description=evaluation.description or "",
        run_id=record.run_id,
        timestamp=entry.timestamp,
        metadata=metadata,
    )


def latest_evaluations(
    instance: dg.DagsterInstance, checks: Iterable[dg.AssetCheckKey]
) -> dict[dg.AssetCheckKey, Evaluation]:
    """Return the latest evaluation of each check that has one."""
    records = instance.event_log_storage.get_latest_asset_check_execution_by_key(list(checks))
    found = {key: evaluation_of(key, record) for key, record in records.items()}
    return {key: evaluation for key, evaluation in found.items() if evaluation is not None}


def outcomes(
    checks: Iterable[dg.AssetCheckKey], evaluations: Mapping[dg.AssetCheckKey, Evaluation]
) -> list[ClaimOutcome]:
    """Sum evaluations up by claim, in the order of the checklist."""
    by_claim: dict[str, list[dg.AssetCheckKey]] = {}
    for key in checks:
        by_claim.setdefault(key.name, []).append(key)
    found = []
    for claim in CHECKLIST:
        keys = by_claim.get(claim.name, [])
        if not keys:
            continue
        seen = [evaluations[key] for key in keys if key in evaluations]
        found.append(
            ClaimOutcome(
                CLAIMS[claim.name],
                sum(evaluation.passed for evaluation in seen),
                [evaluation for evaluation in seen if not evaluation.passed],
                [key.asset_key.to_user_string() for key in keys if key not in evaluations],
            )
        )
    return found
