"""Commands about retention of snapshots: prune, label."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from memos_assets.cli.display import console, errors, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.errors import SnapshotError
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural, size
from memos_assets.settings import load_settings
from memos_assets.snapshots import keep
from memos_assets.snapshots.keep import Plan, Policy
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import open_store
from memos_assets.sqlite.printable import printable

_DIGITS = 12


def prune(
    yes: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--yes", help="Delete; without it, what would be deleted is shown.")
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Show the snapshots that are kept, and delete the others and unreferenced files with --yes."""
    settings = load_settings()
    store, policy = open_store(settings.snapshots_location), Policy.of(settings)
    if yes:
        with (
            open_consolidated(settings, "memos_assets:prune") as engine,
            sole_writer(engine, store),
        ):
            manifests = store.manifests()
            decided = keep.plan(store, policy)
            keep.prune(store, decided)
    else:
        manifests = store.manifests()
        decided = keep.plan(store, policy)
    if str(json_file) != "-":
        console.print(
            _table(manifests, decided)
            if manifests
            else Text(f"There is no snapshot in {store.url}.")
        )
    errors.print(_summary(decided, deleted=yes), markup=False, soft_wrap=True)
    write_json(
        json_file,
        {
            "deleted": yes,
            "kept": [{"id": one, "because": list(why)} for one, why in decided.kept.items()],
            "dropped": [one.id for one in decided.dropped],
            "files": [file.name for file in decided.files],
            "bytes": decided.bytes,
            "files_within_grace": [file.name for file in decided.waiting],
        },
    )
    return 0


def label(
    snapshot: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the snapshot, its beginning, or its label.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The label; none with --remove.")
    ] = None,
    remove: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--remove", help="Take the label away.")
    ] = False,
) -> int:
    """Give a snapshot a label, by which it is found, and kept whatever the policy is."""
    if (name is None) != remove:
        raise SnapshotError(
            "M839",
            "a NAME and --remove are mutually exclusive, and one of them is needed",
            where="memos-assets snapshots label",
            fix="memos-assets snapshots label ID NAME, or memos-assets snapshots label ID --remove",
        )
    settings = load_settings()
    store = open_store(settings.snapshots_location)
    with open_consolidated(settings, "memos_assets:label") as engine, sole_writer(engine, store):
        manifest = keep.label(store, snapshot, name)
    said = "has no label now" if name is None else f"is labelled {name}, and kept"
    console.print(f"Snapshot {manifest.id[:_DIGITS]} {said}.", markup=False, soft_wrap=True)
    return 0


def _table(manifests: list[Manifest], decided: Plan) -> Table:
    table = titled_table("Retention")
    for column in ("id", "made at", "last seen"):
        table.add_column(column, no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("kept because", overflow="fold")
    for one in reversed(manifests):
        reasons = decided.kept.get(one.id)
        table.add_row(
            one.id[:_DIGITS],
            one.made_at[:16].replace("T", " "),
            one.latest.made_at[:16].replace("T", " "),
            f"{one.rows:,}",
            Text(printable(", ".join(reasons) if reasons else "not kept")),
        )
    return table


def _summary(decided: Plan, *, deleted: bool) -> str:
    what = (
        f"{plural(len(decided.dropped), 'snapshot')} and {plural(len(decided.files), 'file')}, "
        f"{size(decided.bytes)}"
    )
    waiting = (
        f" {plural(len(decided.waiting), 'unreferenced file')} within the grace period."
        if decided.waiting
        else ""
    )
    if decided.is_empty:
        return f"There is nothing to delete.{waiting}"
    if deleted:
        return f"Deleted {what}.{waiting}"
    return f"Would delete {what}. Nothing was deleted: memos-assets snapshots prune --yes.{waiting}"
