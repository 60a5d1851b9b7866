"""Commands about one user: export and erase what we hold of them."""

import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table

from memos_assets.cli import exit_codes
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.data import JsonFile
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.outcome import write_json
from memos_assets.cli.person import who
from memos_assets.errors import AgentError
from memos_assets.memory import canary
from memos_assets.memory.erase import Erasure, count_beside, erase_rows, preview, prove
from memos_assets.memory.export import MANIFEST, export_user
from memos_assets.postgres import schemas
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.settings import Settings, load_settings

User = Annotated[str, typer.Argument(metavar="ID", help="The user's id, exactly as stored.")]
_DIGITS = 12


def export(
    user: User,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="DIR", help="New folder. Default: one in `exports` in MEMOS_HOME."
        ),
    ] = None,
) -> int:
    """Write what belongs to a user as JSON lines and Parquet, with a manifest."""
    settings = load_settings()
    folder = to if to is not None else _export_folder(settings, user)
    with open_consolidated(settings, "memos_assets:user_export") as engine:
        manifest = export_user(engine, user, folder)
    counts = {table: entry["rows"] for table, entry in manifest["tables"].items()}
    console.print(_counts_table("Exported", counts))
    for note in manifest["notes"]:
        console.print(note, markup=False, soft_wrap=True)
    console.print(f"Wrote {folder / MANIFEST}", markup=False, soft_wrap=True)
    return 0


def erase(
    user: User,
    yes: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--yes", help="Erase. Without it, only count what would be erased.")
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Erase a user: rows, links, embeddings, logs; then search for their texts. No way back."""
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:user_erase") as engine:
        if not yes:
            with engine.connect() as conn:
                counts = preview(conn, user)
            console.print(_counts_table("Would be erased", counts))
            console.print("Nothing was erased. --yes erases; there is no way back.")
            write_json(json_file, {"erased": False, "counts": counts})
            return 0
        with engine.begin() as conn:
            erasure = erase_rows(conn, user, erased_by=who())
            # Before the commit: an erasure that is interrupted here can be run again.
            beside = {
                "exports of ours": _remove_exports(settings, user),
                "runs of Dagster": _remove_seed_runs(conn, settings, user),
            }
            erasure = count_beside(conn, erasure, beside)
        erasure = prove(
            engine, erasure, _folders(settings), skip=[EmbeddedServer(settings.home).data_directory]
        )
    return _conclude(erasure, json_file)


def _conclude(erasure: Erasure, json_file: Path | None) -> int:
    searched = erasure.searched
    assert searched is not None
    console.print(_counts_table("Erased", erasure.counts))
    looked_for = len(canary.needles(erasure.texts))
    console.print(
        f"Looked for {plural(looked_for, 'text')} of the user in "
        f"{plural(searched.tables, 'table')} ({searched.table_bytes:,} bytes) and "
        f"{plural(searched.files, 'file')}: "
        f"found in {plural(len(searched.found), 'place')}.",
        markup=False,
        soft_wrap=True,
    )
    for place, hits in searched.found.items():
        console.print(f"  {place}: {plural(hits, 'text')}", markup=False, soft_wrap=True)
    not_read = [*canary.NOT_LOOKED_AT, *searched.compressed]
    console.print(f"Not looked at: {'; '.join(not_read)}.", markup=False, soft_wrap=True)
    content = {
        "erased": True,
        "tombstone": erasure.number,
        "counts": erasure.counts,
        "texts_looked_for": looked_for,
        "tables": searched.tables,
        "files": searched.files,
        "found": searched.found,
        "not_looked_at": not_read,
    }
    write_json(json_file, content)
    if searched.found:
        places = ", ".join(searched.found)
        left = AgentError(
            "M773",
            f"texts of the user are left in {places}",
            where="user erase",
            fix="delete them there: a memory of others says the same, or a source, an archive or "
            "a file still has it",
        )
        print_error(str(left))
        return exit_codes.FAILED
    return 0


def _counts_table(title: str, counts: dict[str, int]) -> Table:
    table = titled_table(title)
    table.add_column("where", overflow="fold")
    table.add_column("rows", justify="right")
    for place, count in counts.items():
        table.add_row(place, f"{count:,}")
    return table


def _digest(user: str) -> str:
    """Return what names a user in a path, without the id."""
    return hashlib.sha256(user.encode()).hexdigest()[:_DIGITS]


def _export_folder(settings: Settings, user: str) -> Path:
    name = f"{_digest(user)}-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    return settings.home / "exports" / name


def _remove_exports(settings: Settings, user: str) -> int:
    """Delete exports of the user in MEMOS_HOME, which are compressed; return how many."""
    found = list((settings.home / "exports").glob(f"{_digest(user)}-*"))
    for folder in found:
        shutil.rmtree(folder)
    return len(found)


def _remove_seed_runs(conn: sa.Connection, settings: Settings, user: str) -> int:
    """Delete Dagster's runs whose configuration names the user; return how many."""
    there = sa.func.to_regclass(f"{schemas.DAGSTER.name}.runs")
    if conn.execute(sa.select(there)).scalar_one() is None:
        return 0
    # Dagster takes a second to import, which `--help` and a preview need not wait for.
    from memos_assets.runs.instance import open_instance
    from memos_assets.runs.seed_runs import delete_seed_runs

    with open_instance(settings) as instance:
        return delete_seed_runs(instance, catalog_of(settings).names, user)


def _folders(settings: Settings) -> list[Path]:
    """Return folders of our files and of Dagster's local ones, each once."""
    wanted = [settings.home, settings.archive_folder, settings.dagster_home / "storage"]
    return [path for path in wanted if path.is_dir()]


group = typer.Typer(
    help="What we hold of one user: export it, erase it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
group.command("export")(export)
group.command("erase")(erase)
