"""Ask before a command does what is not easily undone."""

import sys

import typer

from memos_assets.cli.display import console
from memos_assets.errors import UsageError


def require_answer(command: str, *, yes: bool) -> None:
    """Refuse a command that has to ask where nobody can answer.

    Args:
        command: name of the command.
        yes: whether its ``--yes`` is given, so that it does not ask.

    Raises:
        UsageError: M508 standard input is not a terminal.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "M508",
            "asks before it changes anything, and standard input is not a terminal",
            where=command,
            fix="pass --yes to agree beforehand, or --dry-run to see what would be done",
        )


def agreed(command: str, question: str, *, yes: bool, otherwise: str) -> bool:
    """Whether the person agrees.

    Args:
        command: name of the command.
        question: that is asked.
        yes: whether they agreed beforehand, by ``--yes``.
        otherwise: what is said where they do not agree.

    Raises:
        UsageError: M508 as `require_answer`.
    """
    require_answer(command, yes=yes)
    if yes:
        return True
    try:
        # On standard error: JSON on standard output stands alone.
        answer = typer.confirm(question, err=True)
    except typer.Abort:
        answer = False
    if not answer:
        console.print(f"{otherwise} --yes does not ask.")
    return answer
