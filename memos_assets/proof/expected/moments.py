"""Time stamps as the proof reads them, place by place.

``YYYY-MM-DD``, then, if there is more, ``T`` or a blank, ``HH:MM``, perhaps ``:SS``, perhaps a
point and digits, perhaps ``Z`` or an offset: a sign and ``HH``, ``HHMM``, ``HH:MM`` or
``HH:MM:SS``. All digits are ASCII.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

#: Where the years 1 to 9999 begin and end, in seconds since 1970.
BEGIN: Final = -62_135_596_800
END: Final = 253_402_300_800
_DAY_1970: Final = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Moment:
    """A time stamp.

    Attributes:
        microseconds: since 1970 in UTC, digits after them cut off; UTC is assumed without a zone.
        finer: the digits after the microsecond, zeros at the end left out.
        has_zone: whether it says its offset.
    """

    microseconds: int
    finer: str
    has_zone: bool

    def rounded(self) -> int:
        """Return the nearest microsecond, half to even."""
        half = "5"
        tie = self.microseconds % 2 == 1
        up = self.finer > half or (self.finer == half and tie)
        return self.microseconds + up


#: What memOS writes: to the second or the microsecond, in UTC.
_USUAL = re.compile(
    r"[0-9]{4}(?:-[0-9]{2}){2}[ T](?:[01][0-9]|2[0-3])(?::[0-5][0-9]){2}"
    r"(?:\.[0-9]{6})?(?P<utc>\+00:00)?"
)
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  all of these are in UTC
_MICROSECOND = timedelta(microseconds=1)


def usual(text: str) -> tuple[int, bool] | None:
    """Return the microseconds since 1970 of what memOS writes, and whether the offset is stated.

    None for anything else, which is for `moment`; this takes a tenth of its time.
    """
    match = _USUAL.fullmatch(text)
    if match is None:
        return None
    try:
        written = datetime.fromisoformat(text.removesuffix("+00:00"))
    except ValueError:
        return None
    return (written - _EPOCH) // _MICROSECOND, match["utc"] is not None


def moment(text: str) -> Moment:
    """Read a time stamp.

    Raises:
        ValueError: it does not follow the grammar, names no day or time, or is in no year from 1
            to 9999 in UTC.
    """
    if not text.isascii() or text[4:5] != "-" or text[7:8] != "-":
        raise ValueError(f"{text[:40]!r} is not a time stamp")
    day = date(_number(text[:4], 9999), _number(text[5:7], 12), _number(text[8:10], 31))
    seconds, digits, zone = (day.toordinal() - _DAY_1970) * 86_400, "", ""
    if len(text) > 10:
        if text[10] not in "T " or text[13:14] != ":":
            raise ValueError(f"{text[:40]!r} is not a time stamp")
        seconds += _number(text[11:13], 23) * 3_600 + _number(text[14:16], 59) * 60
        zone = text[16:]
        if zone[:1] == ":":
            seconds += _number(zone[1:3], 59)
            zone = zone[3:]
            if zone[:1] == ".":
                rest = zone[1:].lstrip("0123456789")
                digits = zone[1 : len(zone) - len(rest)]
                zone = rest
                if not digits:
                    raise ValueError(f"{text[:40]!r} has a point and no digits")
    if zone:
        seconds -= _offset(zone)
    if not BEGIN <= seconds < END:
        raise ValueError(f"{text[:40]!r} is beyond the years 1 to 9999")
    micros = seconds * 1_000_000 + int(digits[:6].ljust(6, "0"))
    return Moment(micros, digits[6:].rstrip("0"), bool(zone))


def _number(digits: str, most: int) -> int:
    """Read one or two places of two digits each."""
    if len(digits) not in (2, 4) or not digits.isdigit() or (number := int(digits)) > most:
        raise ValueError(f"{digits!r} in a time stamp")
    return number


def _offset(zone: str) -> int:
    """Return the seconds that a place is ahead of UTC."""
    if zone == "Z":
        return 0
    sign, clock = {"+": 1, "-": -1}.get(zone[0]), zone[1:]
    if sign is None or len(clock) not in (2, 4, 5, 8):
        raise ValueError(f"the offset {zone[:20]!r}")
    parts = clock.split(":") if len(clock) != 4 else [clock[:2], clock[2:]]
    if [len(part) for part in parts] != [2] * len(parts):
        raise ValueError(f"the offset {zone[:20]!r}")
    hours, minutes, seconds = [*(_number(part, 59) for part in parts), 0, 0][:3]
    if hours > 23:
        raise ValueError(f"the offset {zone[:20]!r}")
    return sign * (hours * 3_600 + minutes * 60 + seconds)
