"""The command migrate: bring the schema up to date, or back to an older revision."""

from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.cli.asking import agreed
from memos_assets.cli.display import console
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import DryRun, JsonFile, Yes
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, closing_pool, create_engine, database_url
from memos_assets.postgres.target import bring_up_to_date
from memos_assets.report.formatting import plural
from memos_assets.settings import Settings, load_settings


def migrate(
    to: Annotated[
        str | None, typer.Option("--to", help="Take the schema back to this revision.")
    ] = None,
    dry_run: DryRun = False,  # noqa: FBT002  flags at the terminal, here and below
    yes: Yes = False,  # noqa: FBT002
    json_file: JsonFile = None,
) -> int:
    """Bring the schema to this checkout's revision, or back to an older one.

    Going back drops what newer revisions made, rows too; `--to` therefore asks.
    """
    settings = load_settings()
    address = database_url(settings)
    engine = create_engine(address, settings, application_name="memos_assets:migrate", pooled=False)
    with closing_pool(engine):
        check_server(engine, create_extension=False)
        before = migrations.known_revision(engine)
        if dry_run:
            steps = migrations.steps(engine, to)
            _show(steps, to)
            write_json(json_file, {"revision": before, "applied": [], "would": steps})
            return 0
        if to is None:
            done = _apply(engine, settings)
        else:
            steps = migrations.steps(engine, to)
            question = (
                f"Take {plural(len(steps), 'revision')} back, and drop what they made: "
                f"{', '.join(steps)}?"
            )
            kept = "Nothing was changed."
            if steps and not agreed("migrate --to", question, yes=yes, otherwise=kept):
                return 1
            if before is not None:
                migrations.downgrade(engine, to)
            done = steps
            console.print(f"The schema is at revision {migrations.current(engine) or 'base'}.")
        write_json(json_file, {"revision": migrations.current(engine), "applied": done})
    return 0


def _apply(engine: sa.Engine, settings: Settings) -> list[str]:
    done = bring_up_to_date(engine, settings)
    if done.revisions:
        console.print(f"Applied {', '.join(done.revisions)}.")
    if done.tables:
        names = ", ".join(done.tables)
        console.print(f"memOS's tables are adopted or created: {names}.", soft_wrap=True)
    if not done.revisions and not done.tables:
        console.print("Nothing to apply.")
    return list(done.revisions)


def _show(steps: list[str], to: str | None) -> None:
    said = "Would apply" if to is None else "Would take back"
    line = f"{said} {', '.join(steps)}." if steps else "There is nothing to do."
    console.print(f"{line} Nothing was changed.", soft_wrap=True)
