"""The command about the health of tables and indexes: maintain."""

from typing import Annotated

import typer
from rich.table import Table

from memos_assets.catalog import MEMOS
from memos_assets.cli.display import console, live_progress, print_error, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.maintenance.pending import Work, pending_work, scope_of
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings


def maintain(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Tables and indexes; all if none is named."),
    ] = None,
    dry_run: Annotated[  # noqa: FBT002  flags at the terminal, here and below
        bool,
        typer.Option(
            "--dry-run", help="List pending work and do nothing; exit code 1 if there is any."
        ),
    ] = False,
    rebuild: Annotated[  # noqa: FBT002
        bool, typer.Option("--rebuild", help="Rebuild the named indexes though nothing is wrong.")
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """VACUUM, ANALYZE and REINDEX tables and indexes that need it, beside readers and writers."""
    settings = load_settings()
    scope = scope_of(MEMOS, names or (), rebuild=rebuild)
    if dry_run:
        with open_consolidated(settings, "memos_assets:maintain") as engine:
            found = pending_work(engine, scope)
        console.print(_table(found) if found else "Nothing is pending.")
        pending = [{"action": w.action, "what": w.what, "why": w.why} for w in found]
        write_json(json_file, {"pending": pending})
        return 1 if found else 0
    with open_consolidated(settings, "memos_assets:maintain"), live_progress() as display:
        # Dagster takes a second to import, which a refusal need not wait for.
        from memos_assets.runs import instance as launch

        done = launch.maintain(settings, MEMOS, names or (), rebuild=rebuild)
    for failure in done.failures:
        print_error(failure)
    if not done.failures and not display.worked:
        console.print("Nothing was pending.")
    write_json(json_file, {"failed": list(done.failures)})
    return 1 if done.failures else 0


def _table(found: list[Work]) -> Table:
    table = titled_table("Pending work")
    for name in ("", "what", "why"):
        table.add_column(name, overflow="fold")
    for work in found:
        table.add_row(work.action, work.what, work.why)
    return table
