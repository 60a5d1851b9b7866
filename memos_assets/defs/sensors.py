"""Alerts. A failed check is posted once, with what it expected and what it observed."""

import json
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.checklist import CHECKLIST
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.dagster_internals import (
    AssetCheckExecutionRecord,
    check_history,
    latest_check_executions,
)
from memos_assets.defs.evaluations import evaluation_of
from memos_assets.defs.resources import NOT_TAKEN, Webhook
from memos_assets.report.outcomes import Evaluation

_PAGE = 50


def alert_for(evaluation: Evaluation) -> dict[str, object]:
    """Return what is posted: the check, what was expected, what was observed, and the fix."""
    check = CHECKLIST.by_name[evaluation.check]
    return {
        "text": f"{check.label} failed on {evaluation.asset}: expected {evaluation.expected}; "
        f"observed {evaluation.observed}. Fix: {check.fix}",
        "check": evaluation.check,
        "asset": evaluation.asset,
        "expected": evaluation.expected,
        "observed": evaluation.observed,
        "fix": check.fix,
        "run_id": evaluation.run_id,
        "timestamp": evaluation.timestamp,
    }


def post_failed_checks(catalogs: Sequence[Catalog]) -> dg.SensorDefinition:
    """Return the sensor that posts the failed checks of all catalogs."""

    @dg.sensor(
        name="post_failed_checks",
        minimum_interval_seconds=30,
        description="Posts each failed check once to MEMOS_ALERT_WEBHOOK, whatever run evaluated "
        "it.",
    )
    def _sensor(
        context: dg.SensorEvaluationContext, webhook: Webhook
    ) -> dg.SensorResult | dg.SkipReason:
        keys = [key for catalog in catalogs for key in check_keys(CHECKLIST, catalog)]
        return _posted(context, webhook, keys)

    return _sensor


def _posted(
    context: dg.SensorEvaluationContext, webhook: Webhook, keys: Sequence[dg.AssetCheckKey]
) -> dg.SensorResult | dg.SkipReason:
    """Post failures that are newer than the cursor, oldest first.

    The cursor holds the id of the last execution that was dealt with, per check. It moves only
    past alerts that were taken, so a receiver that is down gets them later. A warning is news only
    when more is left to do than the cursor remembers.
    """
    if not webhook.is_configured:
        return dg.SkipReason("MEMOS_ALERT_WEBHOOK is not set")
    latest = latest_check_executions(context.instance, keys)
    if context.cursor is None:
        # History is not news: the first tick only notes where it stands. What has no outcome yet
        # is not history.
        seen = _standing(latest)
        return dg.SensorResult(skip_reason="first look", cursor=json.dumps(seen))
    cursor: dict[str, int] = json.loads(context.cursor)
    posted = 0
    trouble: str | None = None
    try:
        for key, record in latest.items():
            name = key.to_user_string()
            if record.id <= cursor.get(name, 0):
                continue
            for number, evaluation in _outcomes_since(context.instance, key, cursor.get(name, 0)):
                if evaluation is not None:
                    left = _left_to_do(name, evaluation)
                    more = all(count > cursor.get(what, 0) for what, count in left.items())
                    if not evaluation.passed and more:
                        webhook.post(alert_for(evaluation))
                        posted += 1
                    cursor |= left
                cursor[name] = number
    except NOT_TAKEN as error:
        # The address is a secret and httpx puts it into messages. A receiver that is down takes
        # no other alert either, and asking for each would outlast the tick.
        trouble = f"the webhook did not take an alert ({type(error).__name__})"
    return dg.SensorResult(
        skip_reason=trouble or (f"{posted} posted" if posted else "no failed check since"),
        cursor=json.dumps(cursor),
    )


def _standing(
    latest: Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord],
) -> dict[str, int]:
    seen: dict[str, int] = {}
    for key, record in latest.items():
        evaluation = evaluation_of(key, record)
        name = key.to_user_string()
        seen[name] = record.id - (evaluation is None)
        if evaluation is not None:
            seen |= _left_to_do(name, evaluation)
    return seen


def _left_to_do(name: str, evaluation: Evaluation) -> dict[str, int]:
    """Return the entry of the cursor for what a warning counts; nothing for any other check."""
    counted = CHECKLIST.by_name[evaluation.check].left_to_do
    if not counted:
        return {}
    return {f"{name} open": int(evaluation.metadata.get(counted, 0))}


def _outcomes_since(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey, after: int
) -> Iterator[tuple[int, Evaluation | None]]:
    """Yield execution ids after ``after``, oldest first, with None for one that has no outcome.

    It ends before an execution that may still have one.
    """
    found: list[AssetCheckExecutionRecord] = []
    while True:
        page = check_history(instance, key, limit=_PAGE, before=found[-1].id if found else None)
        new = [record for record in page if record.id > after]
        found += new
        if len(new) < _PAGE:
            break
    for record in reversed(found):
        evaluation = evaluation_of(key, record)
        if evaluation is None:
            run = instance.get_run_by_id(record.run_id)
            if run is not None and not run.is_finished:
                return
            # Its step crashed, unless the outcome came after the record was read.
            again = check_history(instance, key, limit=1, before=record.id + 1)
            evaluation = evaluation_of(key, again[0]) if again else None
        yield record.id, evaluation
