"""Moments: what a caller writes for one, and conditions on the times of memories.

A moment is an aware datetime, or its ISO form with a zone. A plain date is its midnight in UTC.

``valid_from`` and ``valid_until`` are times of the world, which ``as_of`` asks for.
``recorded_at``, ``retracted_at`` and ``revisions.known_from`` are times of our knowledge, which
``known_at`` asks for.
"""

from datetime import UTC, date, datetime

from psycopg import sql

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


#: Now, in conditions. Not `now()`, the start of the transaction: it may have remembered since.
NOW = sql.SQL("pg_catalog.statement_timestamp()")


def time_condition(
    memory: sql.Composable,
    *,
    as_of: sql.Composable | None = None,
    known_at: sql.Composable | None = None,
) -> sql.Composed:
    """Return the condition of memories that were true at a moment, by what was known at another.

    Args:
        memory: alias of ``agent.memories`` in the statement.
        as_of: a value of type timestamptz: true in the world then. None: as ``known_at``.
        known_at: a value of type timestamptz: as it was believed then. None: as it is believed now,
            which reads no revision.

    Returns:
        A condition in brackets. With neither: what is current now. With ``known_at`` alone: what
        was current then, as a recall of that moment would have answered.
    """
    if known_at is None:
        return sql.SQL(
            "({m}.retracted_at is null and ({m}.valid_from is null or {m}.valid_from <= {at}) "
            "and ({m}.valid_until is null or {m}.valid_until > {at}))"
        ).format(m=memory, at=NOW if as_of is None else as_of)
    return sql.SQL(
        "exists (select 1 from ({belief}) as believed where not believed.retracted "
        "and (believed.valid_from is null or believed.valid_from <= {at}) "
        "and (believed.valid_until is null or believed.valid_until > {at}))"
    ).format(belief=belief(memory, known_at), at=known_at if as_of is None else as_of)


def belief(memory: sql.Composable, known_at: sql.Composable) -> sql.Composed:
    """Return a query of what was believed about a memory at a moment; no row: it was not known.

    Columns ``valid_from``, ``valid_until``, ``retracted``, ``superseded_by``, ``known_from``.

    Args:
        memory: alias of ``agent.memories`` in the statement around it, for a lateral join.
        known_at: a value of type timestamptz.
    """
    return sql.SQL(
        "select r.valid_from, r.valid_until, r.retracted, r.superseded_by, r.known_from "
        "from agent.revisions r where r.memory = {m}.number and r.known_from <= {known_at} "
        "order by r.known_from desc, r.number desc limit 1"
    ).format(m=memory, known_at=known_at)


def state_of(
    retracted: sql.Composable, valid_until: sql.Composable, at: sql.Composable = NOW
) -> sql.Composed:
    """Return an expression: ``wrong``, ``superseded`` (was true until) or ``current``.

    Args:
        retracted: a boolean; ``m.retracted_at is not null``, or of a `belief`.
        valid_until: a value of type timestamptz, of the same row.
        at: the moment at which it is asked: now, or ``known_at``; not ``as_of``, at which every
            memory of a result is true.
    """
    return sql.SQL(
        "case when {retracted} then 'wrong' when {until} <= {at} then 'superseded' "
        "else 'current' end"
    ).format(retracted=retracted, until=valid_until, at=at)
