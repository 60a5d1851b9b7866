"""Commands about one user: export and erase what we hold of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from memos_assets.cli.display import console
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.user_erase import User, counts_table, erase, erasures, exports_of
from memos_assets.memory.export import MANIFEST, export_user
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import Settings, load_settings


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
    console.print(counts_table("Exported", counts))
    for note in manifest["notes"]:
        console.print(note, markup=False, soft_wrap=True)
    console.print(f"Wrote {folder / MANIFEST}", markup=False, soft_wrap=True)
    return 0


def _export_folder(settings: Settings, user: str) -> Path:
    folder, prefix = exports_of(settings, user)
    return folder / f"{prefix}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"


group = CommandGroup("What we hold of one user: export it, erase it.")
group.command("export")(export)
group.command("erase")(erase)
group.command("erasures")(erasures)
