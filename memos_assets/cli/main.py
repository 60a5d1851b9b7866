"""Assemble the command line, and turn every failure into one line and an exit code."""

import logging
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from memos_assets import __version__
from memos_assets.cli import exit_codes, json_output, stored_help, verbosity
from memos_assets.cli.commands import COMMANDS
from memos_assets.cli.display import console, errors, print_error
from memos_assets.cli.help_page import PROGRAM, CommandGroup
from memos_assets.cli.terminal import show_what_can_be_shown
from memos_assets.errors import MemosAssetsError, TargetError, UsageError, out_of_memory
from memos_assets.files import PRIVATE_FOLDER, write_private

_INTERRUPTED = "Interrupted. Loaded chunks stay loaded; run the same command again to continue."


def assemble(first: str | None) -> typer.Typer:
    """Return the command line: the named command alone if it exists, all commands otherwise.

    Only the modules of these commands are imported.

    Args:
        first: name of a command.
    """
    leave_pandas_out()
    _silence_logs()
    app = _without_commands()
    for name in [first] if first is not None and first in COMMANDS else COMMANDS:
        command = pkgutil.resolve_name(f"{__package__}.{COMMANDS[name]}")
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def program(given: Sequence[str]) -> TyperGroup:
    """Return a program that answers arguments: the real command, or stored help alone.

    Help, completion and names that no command has need no command's module, whose imports take
    seconds.
    """
    first = next((one for one in given if not one.startswith("-")), None)
    if first not in COMMANDS or asks_for_help(given):
        stored = stored_help.read()
        if stored is not None:
            found = get_group(_without_commands())
            stored_help.add_commands(found, stored, first if first in COMMANDS else None)
            return found
    _name_misspelt()
    return get_group(assemble(first))


def _name_misspelt() -> None:
    """Name variables that are almost those of settings, and set nothing."""
    from memos_assets.settings import unknown_variables

    for name, near in unknown_variables().items():
        if near is not None:
            errors.print(
                f"Note: {name} is not a setting. Fix: set {near} in its place",
                markup=False,
                soft_wrap=True,
            )


def asks_for_help(given: Sequence[str]) -> bool:
    """Whether arguments ask for help, or are the names of a group alone, which gets its help."""
    words = [one for one in given if not one.startswith("-")]
    is_group = bool(words) and COMMANDS.get(words[0], "").endswith(":group")
    return bool({"-h", "--help"}.intersection(given)) or (is_group and len(words) == 1)


def get_group(app: typer.Typer) -> TyperGroup:
    """Return a program as Typer makes it, with its options of completion."""
    made = get_command(app)
    assert isinstance(made, TyperGroup)
    return made


def _without_commands() -> typer.Typer:
    app = CommandGroup(
        "memOS's SQLite stores in one PostgreSQL + pgvector database, proven row by row.",
        name=PROGRAM,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    return app


def _print_version(asked: bool) -> None:  # noqa: FBT001  Typer calls it so
    if asked:
        console.print(f"{PROGRAM} {__version__}")
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
        # pyarrow takes a tenth of a second to import, which help need not wait for.
        import pyarrow as pa

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
    show_what_can_be_shown()
    given = sys.argv[1:] if arguments is None else arguments
    verbosity.set_level(verbosity.Level.NORMAL)
    # JSON on standard output stands alone: lines for people are on standard error then.
    console.stderr = json_output.is_wanted_of(given)
    try:
        code = _called(given)
    except typer.Abort:
        errors.print(_INTERRUPTED)
        return exit_codes.INTERRUPTED
    except BrokenPipeError:
        return exit_codes.FAILED
    except Exception as error:  # noqa: BLE001  a traceback at a user is a bug; it goes to a file
        if type(error).__name__ == "NoArgsIsHelpError":
            errors.print(str(error).strip(), markup=False, soft_wrap=True, no_wrap=True)
            return exit_codes.MISUSE
        return _refused(*_judged(error, given))
    if code == exit_codes.INTERRUPTED:
        # typer handles Ctrl+C itself, without a message.
        errors.print(_INTERRUPTED)
    return int(code or 0)


def _called(given: Sequence[str]) -> Any:
    """Run the program with arguments; the real command where stored help is not what they ask."""
    done = program(given)(given, prog_name=PROGRAM, standalone_mode=False)
    if done != stored_help.TO_RUN:
        return done
    # A value that looks like help was a value.
    first = next(one for one in given if not one.startswith("-"))
    return get_group(assemble(first))(given, prog_name=PROGRAM, standalone_mode=False)


def _judged(error: Exception, given: Sequence[str]) -> tuple[list[MemosAssetsError], int]:
    """Return what is said of an error, and the exit code."""
    if isinstance(error, MemosAssetsError):
        return [error], exit_codes.MISUSE
    if isinstance(error, TyperException):
        return [_misuse(error.format_message().strip(), given)], exit_codes.MISUSE
    if isinstance(error, MemoryError):
        return [out_of_memory(PROGRAM)], exit_codes.FAILED
    several = error.exceptions if isinstance(error, ExceptionGroup) else ()
    refusals = [one for one in several if isinstance(one, MemosAssetsError)]
    if refusals and len(refusals) == len(several):
        return refusals, exit_codes.MISUSE
    return [_refusal_of_database(error) or _unexpected(error)], exit_codes.FAILED


def _refused(refusals: Sequence[MemosAssetsError], code: int) -> int:
    """Say errors, as JSON too where JSON is wanted; return the exit code."""
    for error in refusals:
        print_error(str(error))
    if console.stderr:
        json_output.write_errors(refusals)
    return code


def _misuse(message: str, given: Sequence[str]) -> UsageError:
    words = [one for one in given if not one.startswith("-")]
    known = words[:1] if words[:1] and words[0] in COMMANDS else ["COMMAND"]
    return UsageError(
        "M500",
        message.rstrip("."),
        where=PROGRAM,
        fix=f"see {PROGRAM} --help, or {PROGRAM} {known[0]} --help",
    )


def _silence_logs() -> None:
    """Keep what drivers log of lost connections from the terminal; the error says it."""
    # A connection that was lost in the middle of a COPY cannot be rolled back; PostgreSQL does it,
    # and pool and driver need not log it. dagster-postgres tries to reach a server that is gone
    # for some seconds, and would log each attempt.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    logging.getLogger().addFilter(_is_not_retry)


def _is_not_retry(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Retrying failed database connection")


def _refusal_of_database(error: BaseException) -> TargetError | None:
    """Return the error of a database that refused, went away or ran out of a resource, or None."""
    # SQLAlchemy takes a sixth of a second to import, which help need not wait for.
    from memos_assets.postgres.driver_errors import refusal

    cause: BaseException | None = error
    while cause is not None:
        if (found := refusal(cause)) is not None:
            return found
        cause = cause.__cause__ or cause.__context__
    return None


def _unexpected(error: Exception) -> MemosAssetsError:
    """Write the traceback to a file; return the error that names it."""
    from memos_assets.settings import load_settings

    name = f"crash-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    try:
        path = load_settings().home / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        with write_private(path) as file:
            file.writelines(traceback.format_exception(error))
        where = f"the traceback is in {path}"
    except (OSError, MemosAssetsError):
        where = "the traceback could not be written"
    return UsageError(
        "M599",
        f"{type(error).__name__}, which is a bug",
        where=PROGRAM,
        fix=f"report it; {where}",
    )
