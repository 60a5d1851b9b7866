"""Assemble the command line, and turn every failure into one line and an exit code."""

import logging
import pkgutil
import sys
import traceback
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from typing import Annotated

import pyarrow as pa
import typer
from typer.exceptions import TyperException

from memos_assets import __version__
from memos_assets.cli import exit_codes
from memos_assets.cli.display import console, errors, print_error
from memos_assets.cli.terminal import show_what_can_be_shown
from memos_assets.errors import MemosAssetsError, TargetError, out_of_memory
from memos_assets.files import PRIVATE_FOLDER, write_private
from memos_assets.postgres.driver_errors import refusal
from memos_assets.settings import load_settings

_INTERRUPTED = "Interrupted. Loaded chunks stay loaded; run the same command again to continue."

#: Command -> its function, or its group of commands, as `module:name` in this package.
COMMANDS = {
    "plan": "data:plan",
    "consolidate": "data:consolidate_command",
    "verify": "data:verify_command",
    "report": "data:report",
    "observe": "data:observe",
    "demo": "data:demo",
    "up": "server:up",
    "down": "server:down",
    "status": "server:status",
    "url": "server:url",
    "ui": "server:ui",
    "migrate": "server:migrate",
    "maintain": "maintenance:maintain",
    "search": "search:search",
    "ask": "research:ask",
    "impact": "impact:impact",
    "explain": "explain:explain",
    "retire": "retire:retire_command",
    "restore-source": "retire:restore_source",
    "archive": "retire:archive",
    "purge-archive": "retire:purge_archive",
    "forget": "retire:forget_command",
    "rollback": "versions:rollback",
    "versions": "versions:versions",
    "rejects": "rejects:group",
    "memory": "memory:group",
    "cache": "cache:group",
    "board": "board:group",
    "snapshots": "snapshots:group",
    "acknowledge": "acknowledge:acknowledge",
    "check-sessions": "check_sessions:check_sessions",
    "user": "user:group",
    "keys": "keys:group",
    "tokens": "tokens:group",
    "serve": "serve:serve",
    "mcp": "serve:mcp",
}


def assemble(first: str | None) -> typer.Typer:
    """Return the command line: the named command alone if it exists, all commands otherwise.

    Only the modules of these commands are imported.

    Args:
        first: the first argument.
    """
    app = typer.Typer(
        name="memos-assets",
        help="memOS's SQLite stores in one PostgreSQL + pgvector database, proven row by row.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_main)
    if first == "--version":
        return app
    for name in [first] if first in COMMANDS else COMMANDS:
        command = pkgutil.resolve_name(f"{__package__}.{COMMANDS[name]}")
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _print_version(asked: bool) -> None:  # noqa: FBT001  Typer calls it so
    if asked:
        console.print(f"memos-assets {__version__}")
        raise typer.Exit


def _main(
    version: Annotated[  # noqa: FBT002  the callback has answered it
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Do nothing before a command."""


def leave_pandas_out() -> None:
    """Keep pyarrow from importing pandas, which no command needs: 40 MB and 0.4 s to 3 s.

    pyarrow looks for it once, when it makes its first array, and remembers the answer.
    """
    if "pandas" not in sys.modules:
        refusal = _NoPandas()
        sys.meta_path.insert(0, refusal)
        try:
            pa.array([None])
        finally:
            sys.meta_path.remove(refusal)


class _NoPandas(MetaPathFinder):
    """Says that pandas is not installed."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Refuse pandas; leave every other module to the next finder."""
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


def run(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    # A connection that was lost in the middle of a COPY cannot be rolled back; PostgreSQL does it,
    # and pool and driver need not log it. dagster-postgres tries to reach a server that is gone
    # for some seconds, and would log each attempt.
    show_what_can_be_shown()
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger().addFilter(_is_not_retry)
    try:
        given = sys.argv[1:] if arguments is None else arguments
        code = assemble(given[0] if given else None)(given, standalone_mode=False)
    except MemosAssetsError as error:
        print_error(str(error))
        return exit_codes.MISUSE
    except TyperException as error:
        message = error.format_message().strip()
        if type(error).__name__ == "NoArgsIsHelpError":
            errors.print(message, markup=False)
        else:
            fix = "see memos-assets --help, or memos-assets COMMAND --help"
            print_error(f"M500 memos-assets: {message.rstrip('.')}. Fix: {fix}")
        return exit_codes.MISUSE
    except typer.Abort:
        errors.print(_INTERRUPTED)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        return exit_codes.FAILED
    except MemoryError:
        print_error(str(out_of_memory("memos-assets")))
        return exit_codes.FAILED
    except Exception as error:  # noqa: BLE001  a traceback at a user is a bug; it goes to a file
        lost = _refusal_of_database(error)
        if lost is None:
            return _unexpected(error)
        print_error(str(lost))
        return exit_codes.FAILED
    if code == exit_codes.INTERRUPTED:
        # typer handles Ctrl+C itself, without a message.
        errors.print(_INTERRUPTED)
    return int(code or 0)


def _is_not_retry(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Retrying failed database connection")


def _refusal_of_database(error: BaseException) -> TargetError | None:
    """Return the error of a database that refused, went away or ran out of a resource, or None."""
    cause: BaseException | None = error
    while cause is not None:
        if (found := refusal(cause)) is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def _unexpected(error: Exception) -> int:
    name = f"crash-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    try:
        path = load_settings().home / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        with write_private(path) as file:
            file.writelines(traceback.format_exception(error))
        where = f"the traceback is in {path}"
    except (OSError, MemosAssetsError):
        where = "the traceback could not be written"
    print_error(
        f"M599 memos-assets: {type(error).__name__}, which is a bug. Fix: report it; {where}"
    )
    return exit_codes.FAILED
