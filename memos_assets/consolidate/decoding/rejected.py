"""A value that cannot be loaded, and the texts that PostgreSQL accepts."""

from typing import Final

from memos_assets.sqlite.row_codec import Value


class RejectedValue(Exception):  # noqa: N818  it is a verdict on data, not a failure of the program
    """The row cannot be loaded: ``reason`` is a code of `reasons.REJECT_REASONS`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


#: Why a text cannot be loaded; see `reject_reasons`.
TEXT_REASONS: Final = frozenset({"nul_character", "invalid_utf8"})


def wrong_type(value: Value, expected: str) -> RejectedValue:
    """Return the verdict on a value of another storage class than ``expected``."""
    return RejectedValue("wrong_type", f"{type(value).__name__} where {expected} is expected")


def text(value: Value) -> str:
    """Return text that PostgreSQL accepts."""
    if not isinstance(value, str):
        raise wrong_type(value, "TEXT")
    if "\0" in value:
        raise RejectedValue("nul_character", f"at character {value.index(chr(0))}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise RejectedValue("invalid_utf8", f"at character {error.start}") from None
    return value
