"""Indexes that a load drops: their check is red and their assets are stale until they are built."""

from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, CheckContext, Subject
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.checks.recording import as_evaluation, as_result
from memos_assets.defs.dagster_internals import DATA_VERSION_TAG
from memos_assets.defs.keys import Keys
from memos_assets.finding import Finding
from memos_assets.postgres.connection import server_time
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.report.evaluations import record
from memos_assets.settings import Settings

#: V06, which says whether an index is there.
VALID = next(check for check in CHECKLIST if check.number == 6)
_CODE_VERSION_TAG = "dagster/code_version"

_Judge = Callable[[Subject[object]], Finding]


def announce_drop(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    catalog: Catalog,
    names: Sequence[str],
    *,
    rows: int,
    run_id: str,
) -> None:
    """Turn V06 red for indexes that a load is about to drop, and their assets stale.

    Args:
        instance: where it is shown.
        engine: of the target database, where the evaluations are kept.
        catalog: of the application.
        names: of the indexes.
        rows: that are about to be loaded.
        run_id: of the load.
    """
    why = f"dropped for a load of {rows} rows, and not built again"

    def dropped(_: Subject[object]) -> Finding:
        return Finding(False, "valid", why, {"dropped_by_run": run_id})  # noqa: FBT003

    _report(instance, engine, catalog, names, run_id, dropped)
    if schema_in(engine, catalog.schema) != catalog.schema:
        # A shadow has indexes of its own, and the assets are about the live tables.
        return
    for name in names:
        # A code version that no checkout has: stale at once, whatever its table becomes.
        tags = {_CODE_VERSION_TAG: "dropped", DATA_VERSION_TAG: f"dropped by {run_id}"}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                Keys(catalog.names).index(name),
                description=why,
                metadata={"built": False},
                tags=tags,
            )
        )


def judge_again(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    catalog: Catalog,
    names: Sequence[str],
    *,
    run_id: str,
    settings: Settings,
) -> None:
    """Judge V06 of indexes as they are now, outside of its step."""
    context = CheckContext(engine, catalog, settings)
    _report(
        instance,
        engine,
        catalog,
        names,
        run_id,
        lambda subject: VALID.judge(context, subject.value),
    )


def _report(
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    catalog: Catalog,
    names: Sequence[str],
    run_id: str,
    judge: _Judge,
) -> None:
    with engine.connect() as conn:
        began = server_time(conn)
    subjects = _subjects(VALID, catalog)
    wanted = [subjects[catalog.names.index(name)] for name in names]
    found = [(subject.asset, judge(subject)) for subject in wanted]
    with engine.begin() as conn:
        record(
            conn,
            catalog,
            [
                as_evaluation(run_id, began, began, VALID, asset, finding)
                for asset, finding in found
            ],
        )
    for asset, finding in found:
        result = as_result(VALID, asset, finding)
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey.from_user_string(asset),
                check_name=VALID.name,
                passed=finding.passed,
                severity=result.severity,
                description=result.description,
                metadata=result.metadata,
            )
        )


def _subjects(check: AnyCheck, catalog: Catalog) -> Mapping[str, Subject[object]]:
    return {subject.asset: subject for subject in check.subjects(catalog)}
