"""Progress of long work: the work reports, and a listener, if there is one, shows it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

Phase = Literal["pin", "load", "index", "verify", "maintain", "measure", "encrypt"]


@dataclass(frozen=True, slots=True)
class Progress:
    """A step forward: ``rows`` and ``bytes`` were done since the last report on ``what``.

    ``total_rows`` and ``total_bytes`` are known from the start of ``what``, 0 where they are not.
    ``note`` is a line about ``what`` that stays on the screen.
    """

    phase: Phase
    what: str
    rows: int = 0
    bytes: int = 0
    total_rows: int = 0
    total_bytes: int = 0
    done: bool = False
    note: str = ""


_listener: ContextVar[Callable[[Progress], None] | None] = ContextVar("progress", default=None)


def report(progress: Progress) -> None:
    """Tell the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(progress)


@contextmanager
def listening(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Pass reports to ``listener`` within the block, in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
