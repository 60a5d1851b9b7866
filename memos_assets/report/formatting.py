"""Numbers, sizes and moments as text for people."""

from datetime import UTC, datetime


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def moment(seconds: float) -> str:
    """Return seconds since 1970 as ``2026-11-23T09:32:29+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def clock(written: str | None) -> str:
    """Return the text of a moment as ``2026-11-23 09:32:29 UTC``."""
    if not written:
        return "not known"
    return f"{datetime.fromisoformat(written).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def number(count: int) -> str:
    """Return a count with its thousands set off."""
    return f"{count:,}"


def seconds(value: float | None) -> str:
    """Return a duration with two or three significant digits."""
    if value is None:
        return ""
    return (
        f"{value:.0f} s" if value >= 100 else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"
    )


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return ``1 row`` or ``2 rows``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
