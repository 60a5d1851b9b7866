"""The findings of a step, as Dagster's results and as the evaluations that the database keeps."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg

from memos_assets.check import AnyCheck, CheckContext, Placed, Severity
from memos_assets.finding import Finding
from memos_assets.postgres.connection import server_time
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.report.evaluations import record
from memos_assets.report.outcomes import Evaluation, describe

_SEVERITIES: dict[Severity, dg.AssetCheckSeverity] = {
    "error": dg.AssetCheckSeverity.ERROR,
    "warning": dg.AssetCheckSeverity.WARN,
}


def evaluated(
    context: dg.AssetCheckExecutionContext, reading: CheckContext, placed: Iterable[Placed]
) -> Iterator[dg.AssetCheckResult]:
    """Judge what the run asks for, write the findings down, and yield them as results.

    Args:
        context: of the step.
        reading: what the judges read.
        placed: checks and subjects of the step; nothing is read for one that is not asked for.
    """
    # Loads are dated by the server. A client whose clock is ahead would take later ones for proven.
    with reading.engine.connect() as conn:
        began, started = server_time(conn), time.monotonic()
    home = reading.catalog.schema
    schema = schema_in(reading.engine, home)
    where = "" if schema == home else f" (seen in {schema})"
    asked = {
        (key.asset_key.to_user_string(), key.name) for key in context.selected_asset_check_keys
    }
    seen: list[Evaluation] = []
    try:
        for check, subject in placed:
            if (subject.asset, check.name) in asked:
                finding = check.judge(reading, subject.value)
                evaluation = as_evaluation(
                    context.run.run_id,
                    began,
                    began + time.monotonic() - started,
                    check,
                    subject.asset,
                    finding,
                )
                seen.append(evaluation)
                yield as_result(check, subject.asset, finding, where)
    finally:
        with reading.engine.begin() as conn:
            record(conn, reading.catalog, seen)


def as_evaluation(
    run_id: str, began: float, ended: float, check: AnyCheck, asset: str, finding: Finding
) -> Evaluation:
    """Return a finding as the database keeps it; times are the server's, seconds since 1970."""
    return Evaluation(
        asset=asset,
        check=check.name,
        passed=finding.passed,
        expected=finding.expected,
        observed=finding.observed,
        run_id=run_id,
        timestamp=ended,
        severity=check.severity,
        began=began,
        metadata=finding.evidence,
    )


def as_result(
    check: AnyCheck, asset: str, finding: Finding, where: str = ""
) -> dg.AssetCheckResult:
    """Return a finding as Dagster shows it; a failed one says so if it is not of the live tables.

    Args:
        check: that was judged.
        asset: of its subject.
        finding: of the judge.
        where: is added to what a failed one observed.
    """
    if not finding.passed:
        finding = replace(finding, observed=finding.observed + where)
    return dg.AssetCheckResult(
        check_name=check.name,
        asset_key=dg.AssetKey.from_user_string(asset),
        passed=finding.passed,
        severity=_SEVERITIES[check.severity],
        description=describe(check, finding.expected, finding.observed, passed=finding.passed),
        metadata=_metadata(finding),
    )


def _metadata(finding: Finding) -> dict[str, Any]:
    """Expected and observed first, because alerts show the first keys."""
    shown: dict[str, Any] = {"expected": finding.expected, "observed": finding.observed}
    for key, value in finding.evidence.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            shown[key] = dg.MetadataValue.table([dg.TableRecord(dict(row)) for row in value])
        elif isinstance(value, list | Mapping):
            shown[key] = dg.MetadataValue.json(value)
        else:
            shown[key] = value
    return shown
