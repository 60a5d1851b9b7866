"""Time stamps: the one grammar of their texts, and the instant that each means.

::

    YYYY-MM-DD[(T| )HH:MM[:SS[.FRACTION]][Z|(+|-)HH[[:]MM[:SS]]]]

All digits are ASCII. A date alone is its midnight, as SQLite's own functions read it. Digits of the
fraction after the sixth lose nothing while they are zero; others do, and the row is rejected.
Whatever else `datetime.fromisoformat` accepts (any letter between date and time, a comma, week
dates, dates without dashes) is refused.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from typing import Final

from memos_assets.consolidate.decoding.rejected import (
    TEXT_REASONS,
    RejectedValue,
    text,
    wrong_type,
)
from memos_assets.sqlite.row_codec import Value

UTC_TEXT_REASONS: Final = TEXT_REASONS | {"timestamp_unreadable", "timestamp_too_fine"}
ISO_OFFSET_REASONS: Final = UTC_TEXT_REASONS | {"timestamp_without_zone"}
UNIX_SECONDS_REASONS: Final = frozenset({"timestamp_unreadable"})

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_TIMESTAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[T ](?P<time>(?:[01]\d|2[0-3]):[0-5]\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r"(?P<zone>Z|(?P<sign>[+-])(?P<hours>\d\d)"
    r"(?::?(?P<minutes>[0-5]\d)|:(?P<minutes_too>[0-5]\d):(?P<seconds>[0-5]\d))?)?)?",
    re.ASCII,
)
#: What nearly all of them are: Python's own parser reads these no other way, four times as fast.
_USUAL = re.compile(
    r"\d{4}-\d\d-\d\d[T ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{6})?"
    r"(?:[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _unreadable(value: Value) -> RejectedValue:
    return RejectedValue("timestamp_unreadable", repr(value)[:42])


def _matched(raw: str) -> tuple[datetime, str, bool]:
    """Return a time stamp in UTC, its digits beyond microseconds, and whether it has a zone."""
    match = _TIMESTAMP.fullmatch(raw)
    if match is None:
        raise _unreadable(raw)
    fraction = match["fraction"] or ""
    zone: timezone | None = None
    if match["zone"]:
        minutes = match["minutes"] or match["minutes_too"] or 0
        offset = timedelta(
            hours=int(match["hours"] or 0), minutes=int(minutes), seconds=int(match["seconds"] or 0)
        )
        try:
            zone = timezone(-offset if match["sign"] == "-" else offset)
        except ValueError:  # 24 hours and more
            raise _unreadable(raw) from None
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{match['time'] or '00:00'}").replace(
            second=int(match["second"] or 0),
            microsecond=int(f"{fraction[:6]:0<6}"),
            tzinfo=zone or UTC,
        )
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):  # no such day; before the year 1 or after 9999
        raise _unreadable(raw) from None
    return moment, fraction[6:].rstrip("0"), zone is not None


def _parsed(value: Value) -> tuple[datetime, bool]:
    raw = text(value)
    if _USUAL.fullmatch(raw):
        try:
            moment = datetime.fromisoformat(raw)
            if moment.tzinfo is None:
                return moment.replace(tzinfo=UTC), False
            return moment.astimezone(UTC), True
        except (ValueError, OverflowError):  # no such day; before the year 1 or after 9999
            raise _unreadable(raw) from None
    moment, finer, has_zone = _matched(raw)
    if finer:
        raise RejectedValue("timestamp_too_fine", repr(raw[:60]))
    return moment, has_zone


def utc_text(value: Value) -> int:
    """Return microseconds since 1970 from a time stamp that means UTC where it has no offset."""
    return _microseconds(_parsed(value)[0])


def iso_offset(value: Value) -> int:
    """Return microseconds since 1970 from ISO-8601; without an offset it would be a guess."""
    moment, has_zone = _parsed(value)
    if not has_zone:
        raise RejectedValue("timestamp_without_zone", repr(value))
    return _microseconds(moment)


#: Years 1 to 9999, which both Python and PostgreSQL can hold.
_FIRST_MICROSECOND = _microseconds(datetime(1, 1, 1, tzinfo=UTC))
_LAST_MICROSECOND = _microseconds(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))


def unix_seconds(value: Value) -> int:
    """Return microseconds since 1970 from Unix seconds, the exact value rounded half to even.

    A float64 of this century has steps of 0.24 microseconds, so the nearest microsecond is within
    half of one of what the file says, and two moments of less than that may become one.
    """
    if not isinstance(value, int | float):
        raise wrong_type(value, "Unix seconds")
    try:
        moment = round(Fraction(value) * 1_000_000)
    except (OverflowError, ValueError):
        raise _unreadable(value) from None
    if not _FIRST_MICROSECOND <= moment <= _LAST_MICROSECOND:
        raise _unreadable(value)
    return moment


_FINER = re.compile(r"(?<=\.\d{6})\d+")


def cut(raw: str) -> str:
    """Return a time stamp without the digits after the microsecond."""
    return _FINER.sub("", raw, count=1)


def rounded(raw: str) -> str:
    """Return a time stamp that is too fine in the nearest microsecond, half to even.

    That may be in another second, or another year.

    Raises:
        RejectedValue: that year is 10000.
    """
    moment, finer, has_zone = _matched(raw)
    rest = Fraction(f"0.{finer}")
    if rest > Fraction(1, 2) or (rest == Fraction(1, 2) and moment.microsecond % 2):
        try:
            moment += _MICROSECOND
        except OverflowError:
            raise _unreadable(raw) from None
    return (moment if has_zone else moment.replace(tzinfo=None)).isoformat()
