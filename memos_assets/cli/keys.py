"""Commands about the keys of memOS's encrypted memories: status, rotate."""

from typing import Annotated, Any

import typer

from memos_assets.cli.display import console, live_progress, print_error, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.memory.service.crypto import KeyRing, key_ring, lost_key
from memos_assets.memory.service.rotation import KeyCounts, count_keys, rotate_keys
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.settings import load_settings


def status(
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Try N memories; all if not given."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Count the memories that each key decrypts; exit code 1 if there are some that none does."""
    settings = load_settings()
    keys = key_ring(settings)
    with open_consolidated(settings, "memos_assets:keys") as engine:
        counts = count_keys(engine, keys, sample=sample)
    _print_counts(counts, keys)
    _print_lost(counts)
    write_json(json_file, _as_json(counts, keys))
    return 1 if counts.lost_rows else 0


def rotate(
    dry_run: Annotated[  # noqa: FBT002  a flag at the terminal
        bool,
        typer.Option(
            "--dry-run", help="Count and do nothing; exit code 1 if there is anything to rotate."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Encrypt memories by the first key that have another one, beside readers and writers.

    It may be stopped at any time, and run again. memOS reads what its own key wrote: give it the
    first key before.
    """
    settings = load_settings()
    keys = key_ring(settings)
    with open_consolidated(settings, "memos_assets:keys") as engine:
        if dry_run:
            counts = count_keys(engine, keys)
            _print_counts(counts, keys)
        else:
            with live_progress():
                counts = rotate_keys(engine, keys)
            console.print(f"{plural(counts.rotated, 'memory', 'memories')} rotated.")
    if counts.changed:
        console.print(
            f"{plural(counts.changed, 'memory', 'memories')} changed meanwhile; run it again."
        )
    _print_lost(counts)
    write_json(json_file, _as_json(counts, keys))
    left = counts.to_rotate if dry_run else counts.changed
    return 1 if left or counts.lost_rows else 0


def _as_json(counts: KeyCounts, keys: KeyRing) -> dict[str, Any]:
    return {
        "by_key": {key.name: counts.by_key[place] for place, key in enumerate(keys.keys)},
        "empty": counts.empty,
        "lost": counts.lost_rows,
        "rotated": counts.rotated,
        "changed": counts.changed,
    }


def _print_counts(counts: KeyCounts, keys: KeyRing) -> None:
    table = titled_table("Memories by key")
    table.add_column("key")
    table.add_column("memories", justify="right")
    for place, key in enumerate(keys.keys):
        table.add_row(key.name + ("" if place else ", which encrypts"), f"{counts.by_key[place]:,}")
    if counts.empty:
        table.add_row("empty content, not encrypted", f"{counts.empty:,}")
    if counts.lost_rows:
        table.add_row("none decrypts them", f"{counts.lost_rows:,}")
    console.print(table)


def _print_lost(counts: KeyCounts) -> None:
    for memory in counts.lost:
        print_error(str(lost_key(memory)))
    more = counts.lost_rows - len(counts.lost)
    if more:
        console.print(f"{more:,} more are not named.")


group = CommandGroup("Keys of memOS's encrypted memories.")
group.command("status")(status)
group.command("rotate")(rotate)
