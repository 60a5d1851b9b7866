"""Assemble the command line, and turn every failure into one line and an exit code."""

import logging
import sys
import traceback
from datetime import UTC, datetime
from importlib.abc import MetaPathFinder

import pyarrow as pa
import typer
from typer.exceptions import TyperException

from memos_assets.cli import EXIT_INTERRUPTED, data, server
from memos_assets.cli.display import errors
from memos_assets.errors import MemosAssetsError
from memos_assets.settings import load_settings

EXIT_FAILED = 1
EXIT_MISUSE = 2
_INTERRUPTED = "Interrupted. What is in the ledger stays; run the same command again to go on."

app = typer.Typer(
    name="memos-assets",
    help="memOS's SQLite stores in one PostgreSQL + pgvector database, proven row by row.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data.add_commands(app)
server.add_commands(app)


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
    # A connection that Ctrl+C took away in the middle of a COPY cannot be rolled back; PostgreSQL
    # does it, and the pool need not say so at length.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    try:
        code = app(arguments, standalone_mode=False)
    except MemosAssetsError as error:
        errors.print(str(error), style="red", markup=False, soft_wrap=True)
        return EXIT_MISUSE
    except TyperException as error:
        message = error.format_message().strip()
        if type(error).__name__ == "NoArgsIsHelpError":
            errors.print(message, markup=False)
        else:
            fix = "memos-assets COMMAND --help says what there is"
            errors.print(
                f"M500 memos-assets: {message.rstrip('.')}. Fix: {fix}",
                style="red",
                markup=False,
                soft_wrap=True,
            )
        return EXIT_MISUSE
    except typer.Abort:
        errors.print(_INTERRUPTED)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001  a traceback at a user is a bug; it goes to a file
        return _unexpected(error)
    if code == EXIT_INTERRUPTED:
        # typer answers Ctrl+C itself, without a word.
        errors.print(_INTERRUPTED)
    return int(code or 0)


def _unexpected(error: Exception) -> int:
    name = f"crash-{datetime.now(UTC):%Y%m%d-%H%M%S}.txt"
    try:
        path = load_settings().home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        where = f"the traceback is in {path}"
    except (OSError, MemosAssetsError):
        where = "the traceback could not be written"
    errors.print(
        f"M599 memos-assets: {type(error).__name__}, which is a bug. Fix: report it; {where}",
        style="red",
        markup=False,
        soft_wrap=True,
    )
    return EXIT_FAILED
