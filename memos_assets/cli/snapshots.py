"""Commands about snapshots of memory: write, list, show, verify."""

import json
from contextlib import nullcontext, suppress
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from memos_assets.cli import exit_codes, snapshot_retention, snapshots_diff
from memos_assets.cli.display import console, errors, live_progress, print_error, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.snapshots_restore import restore
from memos_assets.cli.snapshots_tour import tour
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural, size
from memos_assets.settings import Settings, load_settings
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.marks import mark_verified
from memos_assets.snapshots.reader import check_files
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets.sqlite.printable import printable

#: Digits of an id that people see.
DIGITS = 12

Snapshot = Annotated[
    str, typer.Argument(metavar="ID", help="Id of the snapshot, its beginning, or its label.")
]


class Included(StrEnum):
    """What is written beside what agents know."""

    CONSOLIDATED = "consolidated"


def store_of(settings: Settings) -> Store:
    """Return the store of snapshots.

    Raises:
        SnapshotError: M803.
    """
    return open_store(settings.snapshots_location)


def write(
    include: Annotated[
        Included | None,
        typer.Option("--include", help="Write the live version of the consolidated tables, too."),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", metavar="NAME", help="Name it; a labelled snapshot is kept."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Write a snapshot of what agents know now, and print its id."""
    settings = load_settings()
    store = store_of(settings)
    with open_consolidated(settings, "memos_assets:snapshot") as engine:
        written = write_snapshot(
            engine, store, include_consolidated=include is not None, label=label
        )
    manifest = written.manifest
    if str(json_file) != "-":
        # The id alone on standard output, so that a script can keep it.
        console.print(manifest.id, soft_wrap=True)
    new = plural(len(manifest.tables) - len(written.reused), "file")
    errors.print(
        f"{manifest.rows:,} rows of {plural(len(manifest.tables), 'table')}; wrote {new}, "
        f"{size(written.bytes)}, to {store.url} in {written.seconds:.1f} s.",
        markup=False,
        soft_wrap=True,
    )
    if written.unchanged:
        errors.print("Nothing changed since a snapshot that is there: one more moment of it.")
    content = {
        "reused": list(written.reused),
        "unchanged": written.unchanged,
        "bytes_written": written.bytes,
        "seconds": round(written.seconds, 3),
        **as_content(manifest),
    }
    write_json(json_file, content)
    return 0


def list_snapshots(json_file: JsonFile = None) -> int:
    """List snapshots, the newest first; exit code 1 if a manifest is damaged."""
    store = store_of(load_settings())
    readable, errors = store.readable()
    found, damaged = readable[::-1], list(errors.values())
    rewritten = store.rewritten()
    if str(json_file) != "-":
        table = titled_table("Snapshots")
        for name in ("id", "rows of", "times"):
            table.add_column(name, no_wrap=True)
        for name in ("tables", "rows", "size"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("label")
        for one in found:
            table.add_row(
                one.id[:DIGITS],
                _minute(one.latest.made_at),
                str(len(one.moments)),
                str(len(one.tables)),
                f"{one.rows:,}",
                size(sum(entry.bytes for entry in one.tables)),
                Text(printable(one.label or "")),
            )
        for former in rewritten:
            became = f"rewritten to {former.into[:DIGITS]} when a user was erased"
            table.add_row(former.id[:DIGITS], _minute(former.at), "", "", "", "", became)
        said = Text(f"There is no snapshot in {store.url}.")
        console.print(table if table.row_count else said, soft_wrap=not table.row_count)
    for broken in damaged:
        print_error(str(broken))
    write_json(
        json_file,
        {
            "snapshots": [_line(one) for one in found],
            "rewritten": [{"id": r.id, "into": r.into, "at": r.at} for r in rewritten],
            "damaged": [str(error) for error in damaged],
        },
    )
    return exit_codes.FAILED if damaged else 0


def show(snapshot: Snapshot, json_file: JsonFile = None) -> int:
    """Show what a snapshot holds, and whether its files are there; no row is read."""
    store = store_of(load_settings())
    manifest = store.manifest(snapshot)
    damaged = check_files(store, manifest)
    if str(json_file) != "-":
        _print(manifest)
    for broken in damaged:
        print_error(str(broken))
    write_json(json_file, {**as_content(manifest), "damaged": [str(error) for error in damaged]})
    return exit_codes.FAILED if damaged else 0


def verify_snapshot(snapshot: Snapshot, json_file: JsonFile = None) -> int:
    """Read every file by DuckDB and compare its rows with the id; exit code 1 if any differs."""
    store = store_of(load_settings())
    manifest = store.manifest(snapshot)
    with nullcontext() if str(json_file) == "-" else live_progress():
        verified = verify(store, manifest)
    if verified.is_whole:
        # The store of a copy may be read-only.
        with suppress(OSError):
            mark_verified(store, manifest.id)
    for broken in verified.damaged:
        print_error(str(broken))
    if verified.is_whole and str(json_file) != "-":
        console.print(
            f"{manifest.id[:DIGITS]} is whole: {verified.rows:,} rows of "
            f"{plural(verified.tables, 'table')}, {size(verified.bytes)}, in "
            f"{verified.seconds:.1f} s.",
            soft_wrap=True,
        )
    write_json(
        json_file,
        {
            "id": verified.snapshot,
            "whole": verified.is_whole,
            "tables": verified.tables,
            "rows": verified.rows,
            "bytes": verified.bytes,
            "damaged": [str(error) for error in verified.damaged],
            "seconds": round(verified.seconds, 3),
        },
    )
    return 0 if verified.is_whole else exit_codes.FAILED


def as_content(manifest: Manifest) -> dict[str, object]:
    """Return a manifest as JSON holds it."""
    content: dict[str, object] = json.loads(manifest.to_json())
    return content


def _line(manifest: Manifest) -> dict[str, object]:
    return {
        "id": manifest.id,
        "moments": [
            {"made_at": one.made_at, "partition": one.partition, "run": one.run}
            for one in manifest.moments
        ],
        "parent": manifest.parent,
        "label": manifest.label,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "bytes": sum(entry.bytes for entry in manifest.tables),
    }


def _print(manifest: Manifest) -> None:
    facts = titled_table(None)
    facts.show_header = False
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in (
        ("snapshot", manifest.id),
        ("rows of", ", ".join(_minute(one.made_at) for one in manifest.moments)),
        ("label", manifest.label),
        ("parent", manifest.parent),
        ("database", ", ".join(sorted(manifest.databases))),
        ("schema revision", manifest.revision),
        ("models", ", ".join(f"{name} {digest[:8]}" for name, digest in manifest.models.items())),
        ("run", manifest.latest.run),
        ("versions", ", ".join(f"{name} {value}" for name, value in manifest.versions.items())),
    ):
        if value:
            facts.add_row(name, Text(printable(value)))
    console.print(facts)
    console.print(_tables(manifest))
    if manifest.left_out:
        left = titled_table("Left out")
        left.add_column("table", no_wrap=True)
        left.add_column("why", overflow="fold")
        for name, why in manifest.left_out.items():
            left.add_row(name, why)
        console.print(left)


def _tables(manifest: Manifest) -> Table:
    table = titled_table("Tables")
    table.add_column("table", no_wrap=True)
    for name in ("rows", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("digest", no_wrap=True)
    for entry in manifest.tables:
        table.add_row(entry.qualified, f"{entry.rows:,}", size(entry.bytes), entry.digest[:DIGITS])
    return table


def _minute(moment: str) -> str:
    return f"{moment[:10]} {moment[11:16]}"


group = CommandGroup(
    "Snapshots of what agents know: write, list, show, verify, compare, restore, keep."
)
group.command("write")(write)
group.command("list")(list_snapshots)
group.command("show")(show)
group.command("verify")(verify_snapshot)
group.command("diff")(snapshots_diff.diff_command)
group.command("restore")(restore)
group.command("tour")(tour)
group.command("label")(snapshot_retention.label)
group.command("prune")(snapshot_retention.prune)
