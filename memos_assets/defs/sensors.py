"""Alerts. A failed check is posted once, with what it expected and what it observed."""

import json

import dagster as dg
import requests

from memos_assets.checklist import CLAIMS
from memos_assets.defs.assets.report import check_keys
from memos_assets.defs.evaluations import Evaluation, evaluation_of
from memos_assets.defs.resources import Webhook


def alert_for(evaluation: Evaluation) -> dict[str, object]:
    """Return what is posted: the claim, what was expected, what was observed, and the fix."""
    claim = CLAIMS[evaluation.check]
    return {
        "text": f"{claim.label} failed on {evaluation.asset}: expected {evaluation.expected}; "
        f"observed {evaluation.observed}. Fix: {claim.fix}",
        "check": evaluation.check,
        "asset": evaluation.asset,
        "expected": evaluation.expected,
        "observed": evaluation.observed,
        "fix": claim.fix,
        "run_id": evaluation.run_id,
        "timestamp": evaluation.timestamp,
    }


@dg.sensor(
    name="post_failed_checks",
    minimum_interval_seconds=30,
    description="Posts each failed check once to MEMOS_ALERT_WEBHOOK, whatever run evaluated it.",
)
def post_failed_checks(
    context: dg.SensorEvaluationContext, webhook: Webhook
) -> dg.SensorResult | dg.SkipReason:
    """Post failures that are newer than the cursor, oldest first.

    The cursor holds the id of the last execution that was dealt with, per check. It moves only
    past alerts that were taken, so a receiver that is down gets them later.
    """
    if not webhook.is_configured:
        return dg.SkipReason("MEMOS_ALERT_WEBHOOK is not set")
    keys = check_keys()
    storage = context.instance.event_log_storage
    latest = storage.get_latest_asset_check_execution_by_key(keys)
    cursor: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
    if context.cursor is None:
        # History is not news: the first tick only notes where it stands.
        seen = {key.to_user_string(): record.id for key, record in latest.items()}
        return dg.SensorResult(skip_reason="first look", cursor=json.dumps(seen))
    posted = 0
    trouble: str | None = None
    for key, record in latest.items():
        after = cursor.get(key.to_user_string(), 0)
        if record.id <= after:
            continue
        history = storage.get_asset_check_execution_history(key, limit=50)
        for past in sorted(history, key=lambda item: item.id):
            if past.id <= after:
                continue
            evaluation = evaluation_of(key, past)
            if evaluation is None:
                # Planned or running: it is looked at again when it has an outcome.
                break
            if not evaluation.passed:
                try:
                    webhook.post(alert_for(evaluation))
                except requests.RequestException as error:
                    # The address is a secret and requests puts it into messages.
                    trouble = f"the webhook did not take an alert ({type(error).__name__})"
                    break
                posted += 1
            cursor[key.to_user_string()] = past.id
    return dg.SensorResult(
        skip_reason=trouble or (f"{posted} posted" if posted else "no failed check since"),
        cursor=json.dumps(cursor),
    )


sensors = [post_failed_checks]
