"""The command line: tamper, judge, and where the table goes."""

import signal
import sys
from typing import Annotated

import typer
from rich.console import Console

from bench.command import DOCUMENT
from bench.command_run import run_consolidate
from bench.machine import machine_line
from bench.measure import BenchError, progress
from bench.sheets import write_sheets
from bench.world import opened_world
from memos_assets.errors import MemosAssetsError
from memos_assets.settings import PROJECT_ROOT
from tamper.bookkeeping import LEDGER, PINS
from tamper.judge import copied, judged, red
from tamper.rows import LINKS, REJECTS, ROWS
from tamper.shape import FUNCTIONS, INDEXES, TABLES
from tamper.table import sheet_of

EVERY = (*ROWS, *LINKS, *REJECTS, *LEDGER, *PINS, *TABLES, *INDEXES, *FUNCTIONS)
EXIT_UNSEEN = 1

_console = Console(highlight=False)


def main() -> None:
    """Tamper, and exit: 0 when each that is not harmless is seen, else 1."""
    # A terminated campaign, too, has a server to stop and a folder to remove.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(tamper)
    try:
        app()
    except (BenchError, MemosAssetsError) as error:
        progress.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(2)


def tamper(
    only: Annotated[
        str, typer.Option("--only", help="Tamperings whose description contains this text.")
    ] = "",
    write: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--write", help="Put the table into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Tamper with a proven database in every way that we know of, and see which check notices."""
    outcomes = []
    with opened_world("small") as world:
        run_consolidate(world)
        with copied(world, world.settings) as engine:
            measured = machine_line(engine, "demo of scale small")
            if wrong := red(engine, world.settings, None):
                raise BenchError(f"the demo is red before anything is tampered with: {wrong}")
        for tampering in EVERY:
            if only not in tampering.what:
                continue
            outcomes.append(judged(world, world.settings, tampering))
            progress.print(
                f"  {tampering.what}: {', '.join(outcomes[-1].noticed) or 'nothing red'}",
                markup=False,
                soft_wrap=True,
            )
    sheet = sheet_of(outcomes)
    _console.print(sheet.markdown().rstrip(), markup=False, soft_wrap=True)
    _console.print(f"\n{measured}\n", markup=False, soft_wrap=True)
    if write:
        write_sheets(DOCUMENT, [sheet], measured)
        progress.print(f"Wrote the table to {DOCUMENT.relative_to(PROJECT_ROOT)}")
    if any(not outcome.is_seen for outcome in outcomes):
        raise typer.Exit(EXIT_UNSEEN)
