"""Executions of checks as Dagster recorded them."""

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from memos_assets.report.outcomes import Evaluation


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
    metadata = {name: _plain(value.value) for name, value in evaluation.metadata.items()}
    return Evaluation(
        asset=key.asset_key.to_user_string(),
        check=key.name,
        passed=evaluation.passed,
        expected=str(metadata.get("expected", "")),
        observed=str(metadata.get("observed", "")),
        run_id=record.run_id,
        timestamp=entry.timestamp,
        severity="warning" if evaluation.severity is dg.AssetCheckSeverity.WARN else "error",
        metadata=metadata,
    )


def _plain(value: object) -> object:
    """Return a table as the rows that it was made of, and any other value as it is."""
    if isinstance(value, dg.TableMetadataValue):
        return [dict(record.data) for record in value.records]
    return value
