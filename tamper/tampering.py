"""What a tampering is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tampering:
    """One change of a proven database that no command of ours makes.

    Attributes:
        what: in words.
        sql: makes it; several statements are one transaction.
        red: labels of the checks of which at least one must fail, such as ``V02``; or the code of
            the error with which they stop.
        table: whose checks are judged, beside those of the database; None: those of every table.
        pin: statement that is run on the pinned copy of the source, for tampering with files.
        source: of the pinned copy.
        why: the reason why it is harmless; then nothing need be red.
    """

    what: str
    sql: str = ""
    red: tuple[str, ...] = ()
    table: str | None = None
    pin: str = ""
    source: str = ""
    why: str = ""
