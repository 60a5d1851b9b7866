"""The command `acknowledge`: leave a table or a column of a file behind, knowingly."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.text import Text

from memos_assets.catalog import MEMOS
from memos_assets.cli.display import console, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.person import who
from memos_assets.consolidate.sources import acknowledged as known
from memos_assets.consolidate.sources import registry
from memos_assets.errors import UsageError
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings


def acknowledge(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="Name of the source; none: list all.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(metavar="TABLE[.COLUMN]", help="What stays in the file; none: list."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why it may stay behind.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who says so; by default you.")
    ] = None,
    undo: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--undo", help="Take it back.")
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Leave a table or column that the catalog does not describe behind, by name; V09 passes."""
    if name is not None and not undo and reason is None:
        fix = "say why it may stay behind: --reason TEXT"
        raise UsageError("M558", "no reason is given", where=name, fix=fix)
    with (
        open_consolidated(load_settings(), "memos_assets:acknowledge") as engine,
        engine.begin() as conn,
    ):
        found = registry.registered_sources(conn, MEMOS.kinds)
        if source is not None:
            found = [registry.source_named(conn, MEMOS.kinds, source)]
        if source is not None and name is not None:
            if undo:
                one = known.take_back(conn, source, name)
                said = "Taken back"
            else:
                assert reason is not None
                one = known.acknowledge(conn, found[0], name, by=by or who(), reason=reason)
                said = "Acknowledged"
            console.print(f"{said}: {one.name} of {one.source}.", markup=False, soft_wrap=True)
            console.print("Prove it: memos-assets verify")
        listed = known.acknowledged(conn, [one.name for one in found])
    if name is None:
        _print(listed)
    write_json(
        json_file,
        [
            {
                "source": one.source,
                "table": one.table,
                "column": one.column or None,
                "by": one.by,
                "at": one.at.isoformat(timespec="seconds"),
                "reason": one.reason,
            }
            for one in listed
        ],
    )
    return 0


def _print(listed: Sequence[known.Acknowledged]) -> None:
    if not listed:
        console.print("Nothing is acknowledged.")
        return
    table = titled_table("Acknowledged")
    for column in ("source", "table or column", "by", "when", "why"):
        table.add_column(column, overflow="fold")
    for one in listed:
        table.add_row(
            Text(one.source),
            Text(one.name),
            Text(one.by),
            f"{one.at:%Y-%m-%d %H:%M} UTC",
            Text(one.reason),
        )
    console.print(table)
