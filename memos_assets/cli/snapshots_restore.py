"""The command that restores a snapshot: show what would change, do it, or make a fork."""

from collections.abc import Mapping
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.cli.display import console, errors, print_error, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.errors import SnapshotError
from memos_assets.memory.restored import prove_restored
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.settings import Settings, load_settings
from memos_assets.snapshots.differences import Counts
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.restore.exact import Restored, exact
from memos_assets.snapshots.restore.fork import fork
from memos_assets.snapshots.restore.plan import Plan, plan
from memos_assets.snapshots.restore.rows import plan_rows, restore_rows
from memos_assets.snapshots.store import Store, open_store

_DIGITS = 12


class Mode(StrEnum):
    """What a restore does."""

    PLAN = "plan"
    EXACT = "exact"
    ROWS = "rows"
    FORK = "fork"


def restore(
    snapshot: Annotated[
        str, typer.Argument(metavar="ID", help="Id of the snapshot, its beginning, or its label.")
    ],
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="plan: print what would change. exact: exchange everything. rows: put rows of "
            "--table with --key back. fork: make --schema to experiment in.",
        ),
    ] = Mode.PLAN,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Of the rows: agent.memories.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KEY", help="Of a row; repeat it for several."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", metavar="NAME", help="Of the fork, a new one.")
    ] = None,
    yes: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--yes", help="Change live tables. Without it, only plan.")
    ] = False,
    from_other: Annotated[  # noqa: FBT002
        bool, typer.Option("--from-other", help="The snapshot may be of another database.")
    ] = False,
    hold_writers: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--hold-writers",
            help="Where agents go on writing, have them wait for the last snapshot of now.",
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Restore a snapshot; without --mode, print what would change and write nothing."""
    _require_options(mode, table, keys, schema)
    settings = load_settings()
    store = open_store(settings.snapshots_location)
    manifest = store.manifest(snapshot)
    with open_consolidated(settings, "memos_assets:restore") as engine:
        if mode is Mode.FORK:
            assert schema is not None
            return _fork(engine, store, manifest, schema, json_file)
        if mode is Mode.ROWS and yes:
            assert table is not None
            done = restore_rows(engine, store, manifest, table, keys or [], from_other=from_other)
            if str(json_file) != "-":
                console.print(_counts("Restored", done.tables))
            for name, count in done.left_out.items():
                errors.print(f"{name}: left {plural(count, 'row')} out that refer to what is gone.")
            _taken_back(done.before)
            write_json(json_file, asdict(done))
            return 0
        if mode is Mode.ROWS:
            assert table is not None
            counts = plan_rows(engine, store, manifest, table, keys or [], from_other=from_other)
            return _plan_of_rows(manifest, counts, json_file)
        if mode is Mode.EXACT and yes:
            return _exact(
                settings,
                engine,
                store,
                manifest,
                from_other=from_other,
                hold_writers=hold_writers,
                json_file=json_file,
            )
        return _plan(engine, store, manifest, json_file)


def _require_options(
    mode: Mode, table: str | None, keys: list[str] | None, schema: str | None
) -> None:
    for needed, given, of in (
        ("--table and --key", table is not None and bool(keys), Mode.ROWS),
        ("--schema", schema is not None, Mode.FORK),
    ):
        if (mode is of) and not given:
            raise SnapshotError(
                "M826",
                f"--mode {of} goes with {needed}",
                where="snapshots restore",
                fix=f"add {needed}",
            )
    for options, given, of in (
        ("--table and --key", table is not None or bool(keys), Mode.ROWS),
        ("--schema", schema is not None, Mode.FORK),
    ):
        if given and mode is not of:
            raise SnapshotError(
                "M826",
                f"only --mode {of} takes {options}",
                where="snapshots restore",
                fix=f"add --mode {of}, or leave {options} out",
            )


def _plan_of_rows(manifest: Manifest, counts: Mapping[str, Counts], json_file: JsonFile) -> int:
    if str(json_file) != "-":
        console.print(_counts("Would change", counts))
        errors.print(
            "Nothing was changed. --yes restores. Rows that the snapshot lacks are deleted."
        )
    write_json(
        json_file,
        {
            "snapshot": manifest.id,
            "restored": False,
            "changes": any(one.all for one in counts.values()),
            "tables": {name: asdict(one) for name, one in counts.items()},
        },
    )
    return 0


def _plan(engine: sa.Engine, store: Store, manifest: Manifest, json_file: JsonFile) -> int:
    planned: Plan = plan(engine, store, manifest)
    if str(json_file) != "-":
        console.print(_counts("Would change", planned.tables))
        for name, rows in planned.models.items():
            errors.print(f"{name}, of a model registered since: {rows:,} rows would be dropped.")
        for name in planned.left:
            errors.print(f"{name} would stay as it is.")
        for refusal in planned.refusals:
            print_error(str(refusal))
        if not planned.changes:
            errors.print("The database is what the snapshot says.")
        errors.print("Nothing was changed. --mode exact --yes restores.")
    write_json(
        json_file,
        {
            "snapshot": planned.snapshot,
            "restored": False,
            "changes": planned.changes,
            "tables": {name: asdict(counts) for name, counts in planned.tables.items()},
            "dropped": dict(planned.models),
            "left": list(planned.left),
            "refusals": [str(refusal) for refusal in planned.refusals],
        },
    )
    return 0


def _exact(
    settings: Settings,
    engine: sa.Engine,
    store: Store,
    manifest: Manifest,
    *,
    from_other: bool,
    hold_writers: bool,
    json_file: JsonFile,
) -> int:
    restored: Restored = exact(
        engine,
        store,
        manifest,
        prove=lambda conn, schema: prove_restored(conn, schema, settings),
        from_other=from_other,
        hold_writers=hold_writers,
        timeout_seconds=settings.swap_timeout_seconds,
    )
    if str(json_file) != "-":
        if not restored.changed:
            console.print("The database is what the snapshot says; nothing was changed.")
        else:
            rows = sum(restored.rows.values())
            console.print(
                f"Restored {restored.snapshot[:_DIGITS]}: {rows:,} rows of "
                f"{plural(len(restored.rows), 'table')}. Readers waited for "
                f"{restored.seconds['readers'] * 1_000:.0f} ms.",
                soft_wrap=True,
            )
            if changed := {name: one for name, one in restored.application.items() if one.all}:
                console.print(_counts("Of memOS's own tables", changed))
            _taken_back(restored.before)
        for name in restored.left:
            errors.print(f"{name} stays as it is.")
    write_json(json_file, asdict(restored))
    return 0


def _fork(
    engine: sa.Engine, store: Store, manifest: Manifest, schema: str, json_file: JsonFile
) -> int:
    made = fork(engine, store, manifest, schema)
    if str(json_file) != "-":
        console.print(
            f"Schema {made.schema} is a fork of {made.snapshot[:_DIGITS]}: {made.rows:,} rows. "
            f'Sessions of it: open_memory_sessions(settings, schema="{made.schema}"). An erasure '
            "of a user does not reach it: drop it when you are done.",
            markup=False,
            soft_wrap=True,
        )
    write_json(json_file, asdict(made))
    return 0


def _taken_back(before: str) -> None:
    errors.print(
        f"What was live is snapshot {before[:_DIGITS]}; restoring that one takes it back. Prune "
        f"deletes it as it does others: to keep it, snapshots label {before[:_DIGITS]} NAME.",
        soft_wrap=True,
    )


def _counts(title: str, tables: Mapping[str, Counts]) -> object:
    shown = titled_table(title)
    shown.add_column("table", no_wrap=True)
    for name in ("added", "removed", "changed"):
        shown.add_column(name, justify="right")
    for name, counts in tables.items():
        shown.add_row(name, f"{counts.added:,}", f"{counts.removed:,}", f"{counts.changed:,}")
    return shown
