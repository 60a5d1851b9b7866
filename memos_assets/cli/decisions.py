"""Commands that decide on rejects and lost embeddings: decide, withdraw, accept, replay."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.text import Text

from memos_assets.catalog import MEMOS
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import console, errors, live_progress, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.outcome import conclude
from memos_assets.cli.person import who
from memos_assets.cli.rejects_options import Filter, OfTable, Reason, Source, open_engine
from memos_assets.cli.rejects_options import selection as selected
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.decoding.repair_rules import RULES
from memos_assets.consolidate.loading import accepted
from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.rejects import listing as rejects
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.errors import UsageError
from memos_assets.report.formatting import plural
from memos_assets.settings import load_settings

Column = Annotated[
    str | None, typer.Option("--column", metavar="COLUMN", help="Only this embedding column.")
]
Note = Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why; it is kept.")]


def decide(
    table: OfTable,
    reason: Reason,
    rule: Annotated[
        str, typer.Option("--rule", metavar="RULE", help=f"What is done: {', '.join(RULES)}.")
    ],
    source: Source = None,
    count: Annotated[
        int | None,
        typer.Option("--count", metavar="N", help="How many rows; refused if there are others."),
    ] = None,
    note: Note = None,
) -> int:
    """Decide what is done with rejects of a reason. `replay` applies it."""
    with open_engine("decide") as engine:
        _decide(engine, table, reason, rule, source, note, count)
    console.print("Apply it: memos-assets rejects replay")
    return 0


def _decide(
    engine: sa.Engine,
    table: str,
    reason: str,
    rule: str,
    source: str | None,
    note: str | None = None,
    count: int | None = None,
) -> None:
    spec = decisions.table_named(MEMOS, table)
    with engine.begin() as conn:
        if source is not None:
            registry.source_named(conn, MEMOS.kinds, source)
        concerned = decisions.decide(
            conn, spec, reason, rule, source=source, by=who(), note=note, count=count
        )
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


def accept(
    table: OfTable,
    reason: Annotated[
        str, typer.Option("--reason", metavar="REASON", help="Why the embeddings are NULL.")
    ],
    count: Annotated[
        int, typer.Option("--count", metavar="N", help="How many; refused if there are others.")
    ],
    source: Source = None,
    column: Column = None,
    note: Note = None,
) -> int:
    """Accept that embeddings are NULL for a reason, so many of them; V30 then passes."""
    spec = decisions.table_named(MEMOS, table)
    with open_engine("accept") as engine, engine.begin() as conn:
        if source is not None:
            registry.source_named(conn, MEMOS.kinds, source)
        done = accepted.accept(
            conn,
            MEMOS,
            spec,
            reason,
            source=source,
            column=column,
            count=count,
            by=who(),
            note=note,
        )
    for one in done:
        console.print(
            f"Accepted in {spec.name} of {one.source}: {one}.", markup=False, soft_wrap=True
        )
    console.print("Prove it: memos-assets verify")
    return 0


def withdraw(table: OfTable, reason: Reason, source: Source = None, column: Column = None) -> int:
    """Take a decision, or an acceptance, back. `replay` opens the rows again."""
    spec = decisions.table_named(MEMOS, table)
    with open_engine("withdraw") as engine, engine.begin() as conn:
        if source is not None:
            registry.source_named(conn, MEMOS.kinds, source)
        taken: list[tuple[str, str, int]] = []
        withdrawn: Mapping[str, str] = {}
        if reason in EMBEDDING_REASONS and reason not in REJECT_REASONS:
            taken = accepted.withdraw(conn, spec, reason, source=source, column=column)
        else:
            withdrawn = decisions.withdraw(conn, spec, reason, source=source)
    for name, rule in withdrawn.items():
        console.print(
            f"Withdrew {rule} for {reason} in {spec.name} of {name}.", markup=False, soft_wrap=True
        )
    for name, of, rows in taken:
        console.print(
            f"Withdrew the acceptance of {reason} {rows:,} in {spec.name}.{of} of {name}.",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"Apply it: memos-assets {'verify' if taken else 'rejects replay'}")
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
    with open_engine("replay") as engine:
        with engine.connect() as conn:
            selection = selected(conn, source, table, None, settled=True)
        for reason, name in decided:
            assert table is not None
            _decide(engine, table, reason, name, source)
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
                engine, settings, catalog, roots, files, reload=None, swap=False
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
