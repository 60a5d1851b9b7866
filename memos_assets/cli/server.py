"""Commands about the database and the UI: up, down, status, url, ui, migrate."""

import socket
import sys
from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.catalog import MEMOS
from memos_assets.cli.display import console
from memos_assets.consolidate.sources.registry import registered_sources
from memos_assets.errors import UsageError
from memos_assets.installation import CHECKOUT, PROJECT_ROOT
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import (
    check_server,
    create_engine,
    database_url,
    libpq_url,
    parse_url,
    shown,
)
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import bring_up_to_date, missing_schema, prepare_target
from memos_assets.report.formatting import size
from memos_assets.runs.dagster_home import prepare_dagster_home
from memos_assets.settings import Settings, environment_for_dagster, load_settings


def up() -> int:
    """Start the embedded PostgreSQL, or check the server that MEMOS_DATABASE_URL names."""
    settings = load_settings()
    address = database_url(settings)
    engine = create_engine(address, settings, application_name="memos_assets:up", pooled=False)
    facts = check_server(engine, create_extension=False)
    console.print(
        f"PostgreSQL {facts.server} with pgvector {facts.pgvector} is up: {shown(address)}",
        soft_wrap=True,
    )
    _print_missing(engine)
    return 0


def down() -> int:
    """Stop the embedded PostgreSQL. Another server is left alone."""
    settings = load_settings()
    if settings.database_url is not None:
        console.print("MEMOS_DATABASE_URL is set: memos-assets does not stop that server.")
        return 0
    stopped = EmbeddedServer(settings.home).stop()
    console.print("Stopped." if stopped else "The embedded PostgreSQL was not running.")
    return 0


def status() -> int:
    """Show whether the database runs, its address and its sources. Starts nothing."""
    settings = load_settings()
    if settings.database_url is None:
        server = EmbeddedServer(settings.home)
        now = server.status()
        if not now.running:
            console.print(
                f"The embedded PostgreSQL in {server.data_directory} is down. Fix: memos-assets up",
                soft_wrap=True,
            )
            return 1
        address = server.url()
        console.print(f"Embedded PostgreSQL, process {now.pid}: {shown(address)}", soft_wrap=True)
    else:
        address = parse_url(settings.database_url.get_secret_value())
        console.print(f"PostgreSQL at {shown(address)}", soft_wrap=True)
    _print_content(address, settings)
    return 0


def _print_content(address: sa.URL, settings: Settings) -> None:
    engine = create_engine(address, settings, application_name="memos_assets:status", pooled=False)
    try:
        facts = check_server(engine, create_extension=False)
        console.print(
            f"PostgreSQL {facts.server}, pgvector {facts.pgvector}, schema revision "
            f"{migrations.current(engine) or 'none'} of {migrations.head()}"
        )
        if _print_missing(engine):
            return
        with engine.connect() as conn:
            used = conn.execute(
                sa.select(sa.func.pg_database_size(sa.func.current_database()))
            ).scalar_one()
            sources = registered_sources(conn, MEMOS.kinds)
        console.print(f"{size(used)} on disk, {len(sources)} sources")
        for source in sources:
            console.print(f"  {source.name} ({source.kind.name}): {source.path}", soft_wrap=True)
    finally:
        engine.dispose()


def _print_missing(engine: sa.Engine) -> bool:
    """Print that there is no consolidation, or an older schema; whether it is so."""
    missing = missing_schema(engine)
    if missing is not None:
        said = f"Note: the database {missing.what}. Fix: {missing.fix}"
        console.print(said, markup=False, soft_wrap=True)
    return missing is not None


def url(
    password: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--password", help="Show the password, if there is one.")
    ] = False,
) -> int:
    """Print the address of the target database, as psql and psycopg take it, on the last line."""
    console.print(libpq_url(database_url(load_settings()), password=password), soft_wrap=True)
    return 0


def migrate(
    to: Annotated[
        str | None, typer.Option("--to", help="Take the schema back to this revision.")
    ] = None,
) -> int:
    """Bring the schema to this checkout's revision, or back to an older one."""
    settings = load_settings()
    address = database_url(settings)
    engine = create_engine(address, settings, application_name="memos_assets:migrate", pooled=False)
    try:
        if to is None:
            done = bring_up_to_date(engine, settings)
            if done.revisions:
                console.print(f"Applied {', '.join(done.revisions)}.")
            if done.tables:
                names = ", ".join(done.tables)
                console.print(f"memOS's tables are adopted or created: {names}.", soft_wrap=True)
            if not done.revisions and not done.tables:
                console.print("Nothing to apply.")
        else:
            check_server(engine, create_extension=False)
            if migrations.current(engine) is not None:
                migrations.downgrade(engine, to)
            console.print(f"The schema is at revision {migrations.current(engine) or 'base'}.")
    finally:
        engine.dispose()
    return 0


def ui(
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1.")] = 3000,
) -> int:
    """Open the Dagster UI and its daemon on the same state; Ctrl+C ends both."""
    from memos_assets.runs.ui.supervisor import serve

    settings = load_settings()
    home = prepare_dagster_home(settings)
    prepare_target(settings, "memos_assets:ui")
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            raise UsageError(
                "M505",
                "the port is taken",
                where=f"127.0.0.1:{port}",
                fix=f"memos-assets ui --port {port + 1}",
            ) from None
    console.print(f"The UI comes up at http://127.0.0.1:{port}", soft_wrap=True)
    sys.stdout.flush()
    # Dagster imports modules from the working directory, too.
    serve(
        PROJECT_ROOT / "workspace.yaml",
        CHECKOUT or home,
        environment_for_dagster(settings),
        port,
    )
    return 0
