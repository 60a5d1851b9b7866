"""What a check step finds, as Dagster's results and as the evaluations that the database keeps."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.checklist import CLAIMS, Severity
from memos_assets.finding import Finding
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.report.evaluations import record
from memos_assets.report.outcomes import Evaluation, describe

_SEVERITIES: dict[Severity, dg.AssetCheckSeverity] = {
    "error": dg.AssetCheckSeverity.ERROR,
    "warning": dg.AssetCheckSeverity.WARN,
}


def evaluated(
    context: dg.AssetCheckExecutionContext,
    engine: sa.Engine,
    catalog: Catalog,
    found: Iterable[tuple[dg.AssetKey, str, Finding]],
) -> Iterator[dg.AssetCheckResult]:
    """Yield findings as results, those that the run asks for, and write them down.

    Args:
        context: of the step.
        engine: of the database that the findings are about.
        catalog: whose tables they are about.
        found: (asset, claim, what was found); reading both sides is part of iterating.
    """
    began = time.time()
    schema = schema_in(engine, catalog.schema)
    where = "" if schema == catalog.schema else f" (seen in {schema})"
    seen: list[Evaluation] = []
    try:
        for asset, claim, finding in found:
            if dg.AssetCheckKey(asset, claim) in context.selected_asset_check_keys:
                seen.append(_evaluation(context.run.run_id, began, asset, claim, finding))
                yield as_result(asset, claim, finding, where)
    finally:
        with engine.begin() as conn:
            record(conn, catalog, seen)


def _evaluation(
    run_id: str, began: float, asset: dg.AssetKey, claim: str, finding: Finding
) -> Evaluation:
    return Evaluation(
        asset=asset.to_user_string(),
        check=claim,
        passed=finding.passed,
        expected=finding.expected,
        observed=finding.observed,
        run_id=run_id,
        timestamp=time.time(),
        severity=CLAIMS[claim].severity,
        began=began,
        metadata=finding.evidence,
    )


def as_result(
    asset: dg.AssetKey, claim: str, finding: Finding, where: str = ""
) -> dg.AssetCheckResult:
    """Return a finding as Dagster shows it; a red one that is not about the live tables says so."""
    if not finding.passed:
        finding = replace(finding, observed=finding.observed + where)
    return dg.AssetCheckResult(
        check_name=claim,
        asset_key=asset,
        passed=finding.passed,
        severity=_SEVERITIES[CLAIMS[claim].severity],
        description=describe(claim, finding.expected, finding.observed, passed=finding.passed),
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
