"""Moments: what a caller writes for one.

A moment is an aware datetime, or its ISO form with a zone. A plain date is its midnight in UTC.
"""

from datetime import UTC, date, datetime

from memos_assets.errors import AgentError

Moment = datetime | date | str


def moment(value: Moment | None, name: str) -> datetime | None:
    """Return a moment in UTC; None stays None.

    Args:
        value: an aware datetime, a date, or either in ISO form, as ``2026-05-01`` or
            ``2026-05-01T09:30:00+02:00``.
        name: of the argument, for the message.

    Raises:
        AgentError: M731 it is not one of these, or has no zone.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = _parsed(value.strip(), name)
    if isinstance(value, datetime):
        if value.utcoffset() is None:
            raise unusable_date(
                name, "has a time without a zone", "add the zone, as in 2026-05-01T09:30:00+02:00"
            )
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise unusable_date(name, "is beyond the years 1 to 9999", "correct it") from None
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise unusable_date(name, f"is {type(value).__name__}", "pass a datetime with a zone")


def _parsed(text: str, name: str) -> datetime | date:
    for parse in (date.fromisoformat, datetime.fromisoformat):
        try:
            return parse(text)
        except ValueError:
            continue
    raise unusable_date(
        name, "is not a date", "write it as 2026-05-01, or 2026-05-01T09:30:00+02:00"
    )


def unusable_date(name: str, what: str, fix: str) -> AgentError:
    """Return M731 about one date; the message does not repeat it."""
    return AgentError("M731", f"{name} {what}", where="memory", fix=fix)
