"""Commands about rejects: list, show, export; those that decide are in `decisions`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table
from rich.text import Text

from memos_assets.catalog import MEMOS
from memos_assets.catalog.columns import MODEL_DIMENSIONS
from memos_assets.cli import decisions as deciding
from memos_assets.cli.display import console, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.rejects_options import All, Filter, OfReason, Source, open_engine
from memos_assets.cli.rejects_options import selection as selected
from memos_assets.consolidate.decoding.reject_reasons import REJECT_REASONS
from memos_assets.consolidate.decoding.repair_rules import RULES
from memos_assets.consolidate.loading import accepted
from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.rejects import listing as rejects
from memos_assets.consolidate.rejects.causes import LOOSE_END, Hanging, hanging
from memos_assets.consolidate.rejects.listing import RejectedRow, RejectGroup, Selection
from memos_assets.consolidate.sources import registry
from memos_assets.losses import Loss
from memos_assets.report.formatting import plural
from memos_assets.sqlite.printable import shown_value


def list_command(
    source: Source = None,
    table: Filter = None,
    reason: OfReason = None,
    settled: All = False,  # noqa: FBT002  a flag at the terminal, here and below
    json_file: JsonFile = None,
) -> int:
    """Count the open rejects, with their meaning and the rules that fit."""
    with open_engine("list") as engine, engine.connect() as conn:
        found = rejects.groups(conn, selected(conn, source, table, reason, settled=settled))
        undecided = _undecided(conn, source, table, reason)
        causes = hanging(conn, selected(conn, source, table, reason, settled=False))
    console.print(_groups_table(found, settled=settled))
    console.print()
    for line in (*(f"{one}." for one in causes), *_next_commands(found), *_to_accept(undecided)):
        console.print(line, markup=False, soft_wrap=True)
    write_json(json_file, [_group_json(group, causes) for group in found])
    return 0


def _undecided(
    conn: sa.Connection, source: str | None, table: str | None, reason: str | None
) -> list[Loss]:
    """Return NULL embeddings that take much of a table, and of which not so many are accepted."""
    known = {
        (one.source, one.table, one.column, one.reason): one.rows
        for one in accepted.accepted(conn, MEMOS)
    }
    name = None if table is None else decisions.table_named(MEMOS, table).name
    return [
        loss
        for loss in accepted.null_embeddings(conn, MEMOS)
        if loss.takes_much
        and known.get((loss.source, loss.table, loss.column, loss.reason), 0) < loss.count
        and source in (None, loss.source)
        and name in (None, loss.table)
        and reason in (None, loss.reason)
    ]


def _to_accept(losses: Sequence[Loss]) -> Iterator[str]:
    if losses:
        yield "Embeddings are NULL in much of a table. Repair the files or the catalog, or accept:"
    for loss in losses:
        yield (
            f"  memos-assets rejects accept --source {loss.source} --table {loss.table} "
            f"--column {loss.column} --reason {loss.reason} --count {loss.count}"
        )


def _groups_table(found: Sequence[RejectGroup], *, settled: bool) -> Table:
    title = "Rejects" if settled else "Open rejects"
    table = titled_table(title)
    table.add_column("table", overflow="fold")
    table.add_column("source", overflow="fold")
    table.add_column("reason")
    table.add_column("open", justify="right")
    if settled:
        table.add_column("dropped", justify="right")
        table.add_column("repaired", justify="right")
    table.add_column("decided")
    table.add_column("rules that fit", overflow="fold")
    table.add_column("what it means", overflow="fold")
    for group in found:
        counts = (group.dropped, group.repaired) if settled else ()
        table.add_row(
            group.table,
            Text(group.source),
            group.reason,
            f"{group.open:,}",
            *(f"{count:,}" for count in counts),
            group.decided or "",
            ", ".join(group.rules),
            REJECT_REASONS[group.reason],
        )
    return table


def _next_commands(found: Sequence[RejectGroup]) -> Iterator[str]:
    opened = sum(group.open for group in found)
    if not opened:
        yield "There are no open rejects."
        return
    yield f"{plural(opened, 'row')} open. Repair them in their files, or decide on them:"
    undecided = {
        (group.table, group.reason): group.rules
        for group in found
        if group.open and group.decided is None
    }
    for (table, reason), rules in undecided.items():
        yield (
            f"  memos-assets rejects decide --table {table} --reason {reason} "
            f"--rule {'|'.join(rules)}"
        )
    yield "Then apply it: memos-assets rejects replay"


def _group_json(group: RejectGroup, causes: Sequence[Hanging]) -> dict[str, Any]:
    """Return a group; ``hang_on``: table -> rows of the group that link to its rejects."""
    place = (group.source, group.table)
    own = [one for one in causes if (one.source, one.table) == place]
    on = {one.on: one.rows for one in own if group.reason == LOOSE_END}
    return {**{name: getattr(group, name) for name in group.__slots__}, "hang_on": on}


def show(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Table in PostgreSQL.")],
    name: Annotated[str, typer.Argument(metavar="ROWID|KEY", help="Its rowid in SQLite, or key.")],
    json_file: JsonFile = None,
) -> int:
    """Show one rejected row column by column, as it was."""
    with open_engine("show") as engine, engine.connect() as conn:
        registry.source_named(conn, MEMOS.kinds, source)
        whose = Selection(MEMOS, source, decisions.table_named(MEMOS, table).name)
        row = rejects.rejected_row(conn, whose, name)
    console.print(_row_table(row))
    console.print()
    for what, value in (
        ("reason", f"{row.reason}: {REJECT_REASONS[row.reason]}"),
        ("detail", row.detail),
        ("key", ", ".join(map(repr, row.key))),
        ("chunk", f"{row.source}/{row.chunk:03d}"),
        ("file", row.path or "not registered any more"),
        ("rejected", f"{row.rejected_at:%Y-%m-%d %H:%M:%S %Z} by run {row.run_id}"),
        ("state", _state(row)),
    ):
        console.print(Text(f"{what:9}{shown_value(value, MODEL_DIMENSIONS)}"), soft_wrap=True)
    write_json(json_file, rejects.as_json(row))
    return 0


def _state(row: RejectedRow) -> str:
    if row.resolution is None:
        return "open, not loaded"
    return "; ".join(
        f"{rule}: {RULES.get(rule, 'not known')}" for rule in row.resolution.split("+")
    )


def _row_table(row: RejectedRow) -> Table:
    title = f"{row.origin} rowid {row.rowid} in {row.source}"
    table = titled_table(Text(title))
    for name in ("", "column", "class", "value"):
        table.add_column(name, overflow="fold")
    for name, value in row.values.items():
        mark = "[red]>[/]" if name in row.offending else ""
        table.add_row(
            mark, Text(name), _storage_class(value), Text(shown_value(value, MODEL_DIMENSIONS))
        )
    return table


def _storage_class(value: object) -> str:
    names = {type(None): "NULL", int: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
    return names[type(value)]


def export(
    path: Annotated[Path, typer.Argument(metavar="FILE.db|FILE.jsonl", help="File to write.")],
    source: Source = None,
    table: Filter = None,
    reason: OfReason = None,
    settled: All = False,  # noqa: FBT002
) -> int:
    """Write rejected rows, exactly as they were, to a SQLite file or as JSON lines."""
    with open_engine("export") as engine, engine.connect() as conn:
        selection = selected(conn, source, table, reason, settled=settled)
        count = rejects.export(conn, selection, path)
    console.print(f"Wrote {plural(count, 'row')} to {path}", markup=False, soft_wrap=True)
    return 0


group = CommandGroup("Rows that could not be loaded as they are: a to-do list.")
group.command("list")(list_command)
group.command("show")(show)
group.command("export")(export)
group.command("decide")(deciding.decide)
group.command("accept")(deciding.accept)
group.command("withdraw")(deciding.withdraw)
group.command("replay")(deciding.replay)
