"""V62 and V63: services are tried in a transaction that is rolled back."""

from typing import Final

from memos_assets.check import AnyCheck, Check, CheckContext
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.memory.service.tried_calls import POINTS, Counted, Trial, try_services
from memos_assets.postgres.application.presence import absent_finding, application_is_absent

_DONE: Final = Counted(completed=1, milestones=1, points=POINTS)
_NOTHING: Final = Counted(completed=0, milestones=0, points=0)


def tried(context: CheckContext, _: None) -> Trial | None:
    """Return a trial of the services; None where memOS's tables are absent."""
    with context.engine.connect() as conn:
        if application_is_absent(conn):
            return None
    return try_services(context.engine.url, context.settings)


def quests_leave_milestones(context: CheckContext, _asset: str) -> Finding:
    """V62: a completed quest, its milestone and its points are of one transaction."""
    trial = context.read_once(tried, None)
    if trial is None:
        return absent_finding()
    observed = f"{_said(trial.within)}; after its end {_said(trial.after)}"
    return Finding(
        not trial.refused and trial.within == _DONE and trial.after == _NOTHING,
        expected=f"{_said(_DONE)} in the transaction; after its end {_said(_NOTHING)}",
        observed=trial.refused or observed,
        evidence={"calls": trial.calls, "refused": trial.refused},
    )


def services_answer_in_asyncio(context: CheckContext, _asset: str) -> Finding:
    """V63: no call of a service waits outside of the greenlet that SQLAlchemy gives it."""
    trial = context.read_once(tried, None)
    if trial is None:
        return absent_finding()
    said = [*trial.greenlet, *filter(None, [trial.refused])]
    return Finding(
        not said,
        expected="every call answers, without a MissingGreenlet",
        observed="; ".join(said) or f"{len(trial.calls)} calls answered",
        evidence={"calls": trial.calls, "greenlet": trial.greenlet, "refused": trial.refused},
    )


def _said(counted: Counted) -> str:
    return (
        f"{counted.completed} completed quest, {counted.milestones} milestone, "
        f"{counted.points} points"
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=62,
        name="v62_quests_leave_milestones",
        title="A quest that is completed, its milestone memory and its points are of one "
        "transaction: all of them, or none.",
        fix="look at triggers and grants of memOS's tables, and at what the evidence says that the "
        "service refused",
        where="`memos/memories`",
        reads="a quest of a trial's own user, completed as the role of services and rolled back: "
        "rows seen within the transaction, and after it",
        when_failed="The remediation plan's line *Quest-memory integration works*. Users complete "
        "quests, and their milestones are lost, or stay where the quest does not. It passes where "
        "memOS's tables are absent.",
        subjects=memories_asset,
        judge=quests_leave_milestones,
        group="memory",
    ),
    Check(
        number=63,
        name="v63_services_answer_in_asyncio",
        title="Every call of memOS's services answers under asyncio.",
        fix="call the named function through the service, which runs it by `session.run_sync`",
        where="`memos/memories`",
        reads="ten calls of `MemoryService` with an `AsyncSession`, in a transaction that is "
        "rolled back",
        when_failed="The remediation plan's line *No greenlet errors in logs*. A function used a "
        "session outside of `run_sync`, or a value was loaded when it was looked at. It passes "
        "where memOS's tables are absent.",
        subjects=memories_asset,
        judge=services_answer_in_asyncio,
        group="memory",
    ),
)
