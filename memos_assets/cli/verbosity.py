"""How much a command says: `-q` results and errors alone, `-v` details, too."""

from enum import IntEnum
from typing import Annotated

import typer


class Level(IntEnum):
    """How much is said."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_level = Level.NORMAL


def set_level(level: Level) -> None:
    """Say so much from now on."""
    global _level
    _level = level


def is_quiet() -> bool:
    """Whether results and errors are shown alone."""
    return _level is Level.QUIET


def is_verbose() -> bool:
    """Whether details are shown, too."""
    return _level is Level.VERBOSE


def _more(asked: bool) -> None:  # noqa: FBT001  Typer calls it so
    if asked:
        set_level(Level.VERBOSE)


def _less(asked: bool) -> None:  # noqa: FBT001  as above
    if asked:
        set_level(Level.QUIET)


def options(
    verbose: Annotated[  # noqa: FBT002  the callback has answered it
        bool,
        typer.Option(
            "--verbose", "-v", help="Show details, too.", callback=_more, expose_value=False
        ),
    ] = False,
    quiet: Annotated[  # noqa: FBT002  as above
        bool,
        typer.Option(
            "--quiet",
            "-q",
            help="Show results and errors alone.",
            callback=_less,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Declare the options that every command has."""
