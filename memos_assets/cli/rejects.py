"""Commands about rejects: list, show, export, decide, withdraw, replay."""

import os
import pwd
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table
from rich.text import Text

from memos_assets.catalog import MEMOS
from memos_assets.catalog.columns import MODEL_DIMENSIONS
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.data import JsonFile
from memos_assets.cli.display import console, errors, live_progress, titled_table
from memos_assets.cli.outcome import conclude, write_json
from memos_assets.consolidate.decoding.reject_reasons import REJECT_REASONS
from memos_assets.consolidate.decoding.repair_rules import RULES
from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.rejects import listing as rejects
from memos_assets.consolidate.rejects.listing import RejectedRow, RejectGroup, Selection
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.errors import UsageError
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.settings import load_settings
from memos_assets.sqlite.printable import shown_value

Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")]
Filter = Annotated[str | None, typer.Option("--table", metavar="TABLE", help="Only this table.")]
OfReason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only this reason.")
]
OfTable = Annotated[str, typer.Option("--table", metavar="TABLE", help="Rows of which table.")]
Reason = Annotated[str, typer.Option("--reason", metavar="REASON", help="Why they were rejected.")]
All = Annotated[bool, typer.Option("--all", help="Settled ones, too.")]


def _engine(name: str) -> AbstractContextManager[sa.Engine]:
    return open_consolidated(load_settings(), f"memos_assets:rejects_{name}")


def _selection(
    conn: sa.Connection,
    source: str | None,
    table: str | None,
    reason: str | None,
    *,
    settled: bool,
) -> Selection:
    """Return the selected rejects; an unknown name is an error, not an empty selection."""
    if source is not None:
        registry.source_named(conn, MEMOS.kinds, source)
    if reason is not None:
        decisions.check_reason(reason)
    name = None if table is None else decisions.table_named(MEMOS, table).name
    return Selection(MEMOS, source, name, reason, only_open=not settled)


def list_command(
    source: Source = None,
    table: Filter = None,
    reason: OfReason = None,
    settled: All = False,  # noqa: FBT002  a flag at the terminal, here and below
    json_file: JsonFile = None,
) -> int:
    """Count the open rejects, with their meaning and the rules that fit."""
    with _engine("list") as engine, engine.connect() as conn:
        found = rejects.groups(conn, _selection(conn, source, table, reason, settled=settled))
    console.print(_groups_table(found, settled=settled))
    console.print()
    for line in _next_commands(found):
        console.print(line, markup=False, soft_wrap=True)
    write_json(json_file, [_group_json(group) for group in found])
    return 0


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


def _group_json(group: RejectGroup) -> dict[str, Any]:
    return {name: getattr(group, name) for name in group.__slots__}


def show(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of the source.")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="Table in PostgreSQL.")],
    name: Annotated[str, typer.Argument(metavar="ROWID|KEY", help="Its rowid in SQLite, or key.")],
    json_file: JsonFile = None,
) -> int:
    """Show one rejected row column by column, as it was."""
    with _engine("show") as engine, engine.connect() as conn:
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
    with _engine("export") as engine, engine.connect() as conn:
        selection = _selection(conn, source, table, reason, settled=settled)
        count = rejects.export(conn, selection, path)
    console.print(f"Wrote {plural(count, 'row')} to {path}", markup=False, soft_wrap=True)
    return 0


def decide(
    table: OfTable,
    reason: Reason,
    rule: Annotated[
        str, typer.Option("--rule", metavar="RULE", help=f"What is done: {', '.join(RULES)}.")
    ],
    source: Source = None,
    note: Annotated[
        str | None, typer.Option("--note", metavar="TEXT", help="Why; it is kept.")
    ] = None,
) -> int:
    """Decide what is done with rejects of a reason. `replay` applies it."""
    with _engine("decide") as engine:
        _decide(engine, table, reason, rule, source, note)
    console.print("Apply it: memos-assets rejects replay")
    return 0


def _decide(
    engine: sa.Engine, table: str, reason: str, rule: str, source: str | None, note: str | None
) -> None:
    spec = decisions.table_named(MEMOS, table)
    with engine.begin() as conn:
        if source is not None:
            registry.source_named(conn, MEMOS.kinds, source)
        concerned = decisions.decide(conn, spec, reason, rule, source=source, by=_who(), note=note)
    for one in concerned:
        left = ""
        if one.untouchable:
            left = f", of which {one.untouchable:,} stay open: the column is a key or a link"
        console.print(
            f"Decided {rule} for {reason} in {spec.name} of {one.source}: {RULES[rule]}. "
            f"The rule concerns {plural(one.rows, 'row')}{left}.",
            markup=False,
            soft_wrap=True,
        )


def _who() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


def withdraw(table: OfTable, reason: Reason, source: Source = None) -> int:
    """Take a decision back. `replay` opens the rows again."""
    spec = decisions.table_named(MEMOS, table)
    with _engine("withdraw") as engine, engine.begin() as conn:
        if source is not None:
            registry.source_named(conn, MEMOS.kinds, source)
        withdrawn = decisions.withdraw(conn, spec, reason, source=source)
    for name, rule in withdrawn.items():
        console.print(
            f"Withdrew {rule} for {reason} in {spec.name} of {name}.", markup=False, soft_wrap=True
        )
    console.print("Apply it: memos-assets rejects replay")
    return 0


def replay(
    source: Source = None,
    table: Filter = None,
    rule: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="REASON=RULE", help="Decide this first; needs --table."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Load rejected rows again, after repairs in the files or decisions, and prove them."""
    decided = [_parsed(one, table) for one in rule or ()]
    settings = load_settings()
    catalog = catalog_of(settings)
    with _engine("replay") as engine:
        with engine.connect() as conn:
            selection = _selection(conn, source, table, None, settled=True)
        for reason, name in decided:
            assert table is not None
            _decide(engine, table, reason, name, source, None)
        with engine.connect() as conn:
            names = rejects.sources_with_rejects(conn, selection)
            registered = registry.registered_sources(conn, catalog.consolidated)
            known = [source for source in registered if source.name in names]
            before = rejects.rows_by_state(conn, catalog, names)
        if not known:
            console.print("There are no rejects.")
            write_json(json_file, {"left": [], "open": []})
            return 0
        gone = [s for s in known if not s.retired_to and not s.path.exists()]
        roots = [Root(s.path, s.name) for s in known if s not in gone and s.retired_to is None]
        for one in gone:
            errors.print(
                f"Note: {one.name} is not replayed, because {one.path} is gone.",
                markup=False,
                soft_wrap=True,
            )
        # Dagster takes a second to import, which refusals need not wait for.
        from memos_assets.runs import instance as launch

        with live_progress():
            files = find_files(catalog, roots, none_will_do=True) if roots else []
            for file in files:
                if file.error is not None:
                    raise file.error
            done = launch.consolidate(
                engine, settings, catalog, roots, files, reload=False, swap=False
            )
        code = conclude(engine, settings, catalog, done, None)
        with engine.connect() as conn:
            after = rejects.rows_by_state(conn, catalog, names)
    left, still = _outcome(before, after)
    _print_outcome(left, still)
    write_json(
        json_file,
        {
            "consolidation": done.id,
            "proven": done.proven,
            "failures": done.failures,
            "left": [
                {"source": s, "table": t, "reason": r, "became": became, "rows": rows}
                for (s, t, r, became), rows in left.items()
            ],
            "open": [
                {"source": s, "table": t, "reason": r, "rows": rows}
                for (s, t, r), rows in still.items()
            ],
        },
    )
    return code


def _parsed(argument: str, table: str | None) -> tuple[str, str]:
    reason, equals, rule = argument.partition("=")
    if table is None or not (reason and equals and rule):
        raise UsageError(
            "M547",
            "the option needs --table" if table is None else "the value is not REASON=RULE",
            where=f"--rule {argument}",
            fix="write --table TABLE --rule REASON=RULE",
        )
    return reason, rule


def _outcome(
    before: rejects.States, after: rejects.States
) -> tuple[Counter[tuple[str, str, str, str]], Counter[tuple[str, str, str]]]:
    """Return the resolutions of rows that were open, and the rows that are open."""
    left: Counter[tuple[str, str, str, str]] = Counter()
    for (source, table, rowid), (reason, resolution) in sorted(before.items()):
        if resolution is not None:
            continue
        _, became = after.get((source, table, rowid), (reason, "as the file holds it"))
        if became is not None:
            left[source, table, reason, became] += 1
    still = Counter(
        (source, table, reason)
        for (source, table, _), (reason, resolution) in sorted(after.items())
        if resolution is None
    )
    return left, still


def _print_outcome(
    left: Counter[tuple[str, str, str, str]], still: Counter[tuple[str, str, str]]
) -> None:
    console.print()
    table = titled_table("Left the list")
    for name in ("table", "source", "reason", "rows", "settled by"):
        table.add_column(name, overflow="fold")
    for (source, name, reason, became), rows in left.items():
        table.add_row(name, Text(source), reason, f"{rows:,}", became)
    if left:
        console.print(table)
    else:
        console.print("No row left the list.")
    by_table: Counter[tuple[str, str]] = Counter()
    for (_, name, reason), rows in still.items():
        by_table[reason, name] += rows
    opened = ", ".join(f"{reason} {rows:,} in {name}" for (reason, name), rows in by_table.items())
    console.print(f"Still open: {opened or 'nothing'}.", markup=False, soft_wrap=True)


group = typer.Typer(
    help="Rows that could not be loaded as they are: a to-do list.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
group.command("list")(list_command)
group.command("show")(show)
group.command("export")(export)
group.command("decide")(decide)
group.command("withdraw")(withdraw)
group.command("replay")(replay)
