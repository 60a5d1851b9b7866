"""The command snapshots diff: what agents learned, lost and changed between two snapshots."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from memos_assets.cli.display import console, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.settings import load_settings
from memos_assets.snapshots.comparison import MEMORIES
from memos_assets.snapshots.diff import LIMIT, diff
from memos_assets.snapshots.differences import Diff, Key, TableDiff
from memos_assets.snapshots.duck_tables import opened
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.texts import ensure_may_see, spaces_of, texts_of
from memos_assets.sqlite.printable import printable

#: Digits of an id, and keys and groups of a table, that are shown.
_DIGITS, _SHOWN = 12, 10


def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help="The former one: id, beginning, label.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The later one.")],
    json_file: JsonFile = None,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Keys and groups in each list; counts are exact.")
    ] = LIMIT,
    text: Annotated[  # noqa: FBT002  a flag at the terminal
        bool,
        typer.Option(
            "--text",
            help="Show texts of memories and names of spaces; as the owner of the tables only.",
        ),
    ] = False,
) -> int:
    """Show what differs between two snapshots: rows, columns, embeddings, links, facts."""
    settings = load_settings()
    store = open_store(settings.snapshots_location)
    former, later = store.manifest(a), store.manifest(b)
    if text:
        with open_consolidated(settings, "memos_assets:diff") as engine, engine.connect() as conn:
            ensure_may_see(conn, former, later)
    with opened(store) as duck:
        found = diff(store, former, later, limit=limit, duck=duck)
        spaces = spaces_of(duck, former, later) if text else {}
        texts: list[tuple[str, int, str]] = []
        if text:
            for sign, manifest, numbers in _memories(found):
                said = texts_of(duck, manifest, numbers)
                texts += [(sign, number, said[number]) for number in numbers if number in said]
    if str(json_file) != "-":
        _print(found, spaces, texts)
    content = found.to_dict()
    if text:
        content["texts"] = [
            {"change": sign, "memory": number, "text": said} for sign, number, said in texts
        ]
        content["spaces"] = {str(number): name for number, name in spaces.items()}
    write_json(json_file, content)
    return 0


def _memories(found: Diff) -> Iterator[tuple[str, Any, list[int]]]:
    """Yield the memories whose texts are shown: how they changed, in which snapshot, numbers."""
    table = found.table(MEMORIES)
    if table is not None:
        yield "-", found.a, [int(key[0]) for key in table.keys_removed]
        yield "+", found.b, [int(key[0]) for key in table.keys_added]
        yield "~", found.b, [int(one.key[0]) for one in table.keys_changed]


def _print(found: Diff, spaces: Mapping[int, str], texts: Sequence[tuple[str, int, str]]) -> None:
    names = f"{found.a.id[:_DIGITS]} and {found.b.id[:_DIGITS]}"
    if not found.a.databases & found.b.databases:
        console.print("Note: the snapshots are of two databases, where one key may be two rows.")
    if not found.tables:
        console.print(f"{names} have the same rows.")
        return
    console.print(_tables(found, names))
    for line in _meaning(found):
        console.print(line, markup=False, soft_wrap=True)
    groups = _groups(found, spaces)
    if groups.row_count:
        console.print(groups)
    for table in found.tables:
        for line in _keys(table):
            console.print(line, markup=False, soft_wrap=True)
    for sign, number, said in texts:
        console.print(Text(f"{sign} {number}  {printable(said)}"), soft_wrap=True)


def _tables(found: Diff, names: str) -> Table:
    shown = titled_table(f"Between {names}")
    shown.add_column("table", no_wrap=True)
    for name in ("added", "removed", "changed"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("columns", overflow="fold")
    for table in found.tables:
        shown.add_row(
            table.table,
            *(f"{one:,}" for one in (table.rows.added, table.rows.removed, table.rows.changed)),
            _columns(table),
        )
    return shown


def _columns(table: TableDiff) -> str:
    said = [f"{name} {count:,}" for name, count in table.by_column.items()]
    said += [f"+{name}" for name in table.columns_added]
    said += [f"-{name}" for name in table.columns_removed]
    said += [f"{name}: {a} to {b}" for name, (a, b) in table.columns_retyped.items()]
    return ", ".join(said)


def _meaning(found: Diff) -> Iterator[str]:
    alone = sum(table.embeddings_alone for table in found.tables)
    if alone:
        yield f"Embeddings alone changed: {plural(alone, 'row')}."
    for table in found.tables:
        if table.reweighted:
            yield f"Links with another weight: {table.reweighted:,}."
        facts = table.facts
        for what, count, no_more in (
            ("superseded", facts.superseded, facts.superseded_no_more) if facts else ("", 0, 0),
            ("retracted", facts.retracted, facts.retracted_no_more) if facts else ("", 0, 0),
        ):
            if count or no_more:
                undone = f", {no_more:,} no more" if no_more else ""
                yield f"Memories that are {what} since: {count:,}{undone}."


def _groups(found: Diff, spaces: Mapping[int, str]) -> Table:
    shown = titled_table("By space and kind")
    for name in ("table", "space", "kind"):
        shown.add_column(name, overflow="fold")
    for name in ("added", "removed", "changed"):
        shown.add_column(name, justify="right", no_wrap=True)
    for table in found.tables:
        for group in table.groups[:_SHOWN]:
            if group.space is None and group.kind is None:
                continue
            space = "" if group.space is None else spaces.get(group.space, str(group.space))
            counts = (group.counts.added, group.counts.removed, group.counts.changed)
            kind = Text(printable(group.kind or ""))
            shown.add_row(table.table, Text(printable(space)), kind, *(f"{n:,}" for n in counts))
        more = table.groups_in_all - len(table.groups[:_SHOWN])
        if more > 0:
            shown.add_row(table.table, f"and {more:,} more", "", "", "", "")
    return shown


def _keys(table: TableDiff) -> Iterator[str]:
    changed = [one.key for one in table.keys_changed]
    for what, keys, count in (
        ("added", table.keys_added, table.rows.added),
        ("removed", table.keys_removed, table.rows.removed),
        ("changed", changed, table.rows.changed),
    ):
        if count:
            shown = keys[:_SHOWN]
            listed = ", ".join(map(_key, shown))
            # The diff itself may have listed fewer keys than it counted.
            cut = f", and {count - len(shown):,} more" if count > len(shown) else ""
            yield f"{table.table} {what}: {listed}{cut}"


def _key(key: Key) -> str:
    return printable("/".join(str(value) for value in key))
