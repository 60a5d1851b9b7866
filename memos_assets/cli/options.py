"""Options that several commands have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from memos_assets.consolidate.sources.choice import Choice
from memos_assets.consolidate.sources.discover import Root
from memos_assets.errors import UsageError
from memos_assets.settings import Settings

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder to search for SQLite files, or NAME=FILE; may be repeated. "
        "Default: MEMOS_DATA.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome as JSON, too.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be done and why not; do nothing.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]

Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Look at these files alone: a pattern of their name, or of their path below the "
        "folder, such as 'data/*.db'; may be repeated.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave these files alone; may be repeated.",
    ),
]
SkipUnreadable = Annotated[
    bool,
    typer.Option(
        "--skip-unreadable", help="Leave files alone that cannot be used, and take the others."
    ),
]


def choice_from(
    include: Sequence[str] | None, exclude: Sequence[str] | None, *, skip_unreadable: bool
) -> Choice:
    """Return the choice of files that the options make."""
    return Choice(tuple(include or ()), tuple(exclude or ()), skip_unreadable)


def roots_from(data: Sequence[str] | None, settings: Settings) -> list[Root]:
    """Return the roots that `--data` names, else those of MEMOS_DATA.

    Raises:
        UsageError: M520 there are none; M521, M522 as `Root.parse`.
    """
    arguments = list(data or settings.data)
    if not arguments:
        raise UsageError(
            "M520",
            "no folder to search",
            where="--data",
            fix="pass --data DIR, or set MEMOS_DATA",
        )
    return [Root.parse(argument) for argument in arguments]
