"""The command line: how many kills, of what, and where the table goes."""

import secrets
import signal
import sys
import time
from typing import Annotated, Literal

import typer
from rich.console import Console

from bench.command import DOCUMENT
from bench.machine import machine_line
from bench.measure import BenchError, progress
from bench.sheets import write_sheets
from bench.world import opened_world
from faults.caches import cache_faults
from faults.campaign import Campaign
from faults.table import last_line, sheet_of
from memos_assets.errors import MemosAssetsError
from memos_assets.settings import PROJECT_ROOT

EXIT_FAULTS = 1
#: Kills of a consolidation for each one beside the cache.
_KILLS_PER_CACHE = 10

_console = Console(highlight=False)


def main() -> None:
    """Kill, and exit: 0 when nothing was lost, doubled or left behind, else 1."""
    # A terminated campaign, too, has a server to stop and a folder to remove.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(faults)
    try:
        app()
    except (BenchError, MemosAssetsError) as error:
        progress.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(2)


def faults(
    kills: Annotated[int, typer.Option("--kills", min=1, help="How often to kill.")] = 100,
    scale: Annotated[
        Literal["plan", "small"], typer.Option("--scale", help="small: a quick look.")
    ] = "plan",
    seed: Annotated[
        int | None, typer.Option("--seed", help="Same seed, same phases and delays.")
    ] = None,
    write: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--write", help="Put the table into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Kill a consolidation, its server, and who computes for the cache; check what is left."""
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    progress.print(f"{kills} kills, seed {seed}")
    with opened_world(scale) as world:
        with world.fresh() as engine:
            measured = machine_line(engine, f"demo of scale {scale}")
        campaign = Campaign(world, scale, seed)
        started = time.monotonic()
        campaign.run(kills)
        seconds = time.monotonic() - started
        of_caches = cache_faults(world, max(2, kills // _KILLS_PER_CACHE))
    sheets = [sheet_of(campaign), of_caches.sheet()]
    for sheet in sheets:
        _console.print(sheet.markdown().rstrip(), markup=False, soft_wrap=True)
    _console.print(f"\n{measured}\n", markup=False, soft_wrap=True)
    faults_found = [*campaign.faults, *of_caches.faults]
    for fault in faults_found:
        _console.print(fault, style="red", markup=False, soft_wrap=True)
    if write:
        write_sheets(DOCUMENT, sheets, measured)
        progress.print(f"Wrote the tables to {DOCUMENT.relative_to(PROJECT_ROOT)}")
    progress.print(f"{seconds / kills:.1f} s per kill")
    _console.print(last_line(campaign), markup=False, soft_wrap=True)
    if faults_found:
        raise typer.Exit(EXIT_FAULTS)
