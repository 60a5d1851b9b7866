"""The command line: which races, how often, and where the tables go."""

import signal
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from bench.board_race import board_race
from bench.cache_race import cache_race
from bench.consolidate_race import consolidate_race, ten_times_race
from bench.index_race import index_race
from bench.load_race import load_race
from bench.machine import machine_line
from bench.measure import BenchError, progress
from bench.recall_race import recall_race
from bench.redis_race import redis_race
from bench.remember_race import remember_race
from bench.replay_sheet import replay_sheet
from bench.research_race import research_race
from bench.search_race import search_race
from bench.serve_race import serve_race
from bench.sheets import Sheet, write_sheets
from bench.snapshot_diff_race import snapshot_diff_race
from bench.snapshot_race import snapshot_race
from bench.snapshot_restore_race import snapshot_restore_race
from bench.verify_race import verify_race
from bench.world import World, opened_world
from memos_assets.demo import Scale
from memos_assets.errors import MemosAssetsError
from memos_assets.settings import PROJECT_ROOT


def _cache(world: World, rounds: int) -> list[Sheet]:
    return [*cache_race(world, rounds), *redis_race(world, rounds), *replay_sheet(world)]


RACES = {
    "load": load_race,
    "consolidate": consolidate_race,
    "verify": verify_race,
    "search": search_race,
    "index": index_race,
    "recall": recall_race,
    "remember": remember_race,
    "snapshots": snapshot_race,
    "cache": _cache,
    "research": research_race,
    "board": board_race,
    "snapshot-restore": snapshot_restore_race,
    "snapshot-diff": snapshot_diff_race,
    "serve": serve_race,
}
DOCUMENT = PROJECT_ROOT / "docs" / "benchmarks.md"

_console = Console(highlight=False)


def main() -> None:
    """Run the races and exit; 0 whether targets are met or missed."""
    # A terminated run, too, has a server to stop and a folder to remove.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(bench)
    try:
        app()
    except (BenchError, MemosAssetsError) as error:
        progress.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(2)


def bench(
    scale: Annotated[
        Literal["plan", "small"], typer.Option("--scale", help="small: a quick look.")
    ] = "plan",
    only: Annotated[
        Literal[
            "load",
            "consolidate",
            "verify",
            "search",
            "index",
            "recall",
            "remember",
            "snapshot-restore",
            "snapshot-diff",
            "cache",
            "research",
            "board",
            "snapshots",
            "serve",
            "ten-times",
        ]
        | None,
        typer.Option("--only", help="One race; consolidate includes second run and memory."),
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of each race.")] = 3,
    ten_times: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool,
        typer.Option("--ten-times", help="Memory at ten times the rows, too: 3 GB, some minutes."),
    ] = False,
    write: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--write", help="Put the tables into docs/benchmarks.md.")
    ] = False,
) -> None:
    """Race memos_assets against the limits and the usual ways, and print ratios."""
    with opened_world(scale) as world:
        with world.fresh() as engine:
            measured = machine_line(engine, f"demo of scale {scale}, {rounds} rounds, medians")
        _console.print(measured, markup=False, soft_wrap=True)
        sheets: list[Sheet] = []
        for name, race in RACES.items():
            if only in (None, name):
                progress.print(name)
                sheets += _shown(race(world, rounds))
        if ten_times or only == "ten-times":
            progress.print("ten-times")
            sheets += _shown(_ten_times(world, scale))
    if write:
        _write(DOCUMENT, sheets, measured)


def _ten_times(world: World, scale: Scale) -> list[Sheet]:
    with opened_world(scale, factor=10) as larger:
        return ten_times_race(world, larger)


def _shown(sheets: list[Sheet]) -> list[Sheet]:
    for sheet in sheets:
        _console.print()
        _console.print(sheet.markdown().rstrip(), markup=False, soft_wrap=True)
    return sheets


def _write(path: Path, sheets: list[Sheet], measured: str) -> None:
    write_sheets(path, sheets, measured)
    progress.print(f"Wrote {len(sheets)} tables to {path.relative_to(PROJECT_ROOT)}")
