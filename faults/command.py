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
from faults import snapshots
from faults.caches import cache_faults
from faults.campaign import Campaign
from faults.snapshots import SnapshotFaults
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
    only: Annotated[
        Literal["consolidation", "caches", "snapshots"] | None,
        typer.Option("--only", help="Kill only these. Snapshots are killed once in each phase."),
    ] = None,
    write: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--write", help="Put the table into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Kill consolidations, their server, users of the cache, and commands about snapshots.

    Then check what is left: rows, answers, live tables and the store of snapshots.
    """
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    sheets, found, lines = [], [], []
    with opened_world(scale) as world:
        with world.fresh() as engine:
            measured = machine_line(engine, f"demo of scale {scale}")
        if only in (None, "consolidation"):
            progress.print(f"{kills} kills, seed {seed}")
            campaign = Campaign(world, scale, seed)
            started = time.monotonic()
            campaign.run(kills)
            progress.print(f"{(time.monotonic() - started) / kills:.1f} s per kill")
            sheets.append(sheet_of(campaign))
            found += campaign.faults
            lines.append(last_line(campaign))
        if only in (None, "caches"):
            of_caches = cache_faults(world, max(2, kills // _KILLS_PER_CACHE))
            sheets.append(of_caches.sheet())
            found += of_caches.faults
        if only in (None, "snapshots"):
            of_snapshots = SnapshotFaults(world)
            of_snapshots.run()
            sheets.append(snapshots.sheet_of(of_snapshots))
            found += of_snapshots.faults
            lines.append(snapshots.last_line(of_snapshots))
    for sheet in sheets:
        _console.print(f"{sheet.markdown().rstrip()}\n", markup=False, soft_wrap=True)
    _console.print(f"{measured}\n", markup=False, soft_wrap=True)
    for fault in found:
        _console.print(fault, style="red", markup=False, soft_wrap=True)
    if write:
        write_sheets(DOCUMENT, sheets, measured)
        progress.print(f"Wrote the tables to {DOCUMENT.relative_to(PROJECT_ROOT)}")
    for line in lines:
        _console.print(line, markup=False, soft_wrap=True)
    if found:
        raise typer.Exit(EXIT_FAULTS)
