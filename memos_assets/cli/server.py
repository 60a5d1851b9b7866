"""Commands about the server and the UI: up, down, url, ui."""

import socket
import sys
from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.cli.display import console
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.errors import UsageError
from memos_assets.installation import CHECKOUT, PROJECT_ROOT
from memos_assets.postgres.engine import (
    check_server,
    create_engine,
    database_url,
    libpq_url,
    shown,
)
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import missing_schema, prepare_target
from memos_assets.runs.dagster_home import prepare_dagster_home
from memos_assets.settings import environment_for_dagster, load_settings


def up(json_file: JsonFile = None) -> int:
    """Start the embedded PostgreSQL, or check the server that MEMOS_DATABASE_URL names."""
    settings = load_settings()
    address = database_url(settings)
    engine = create_engine(address, settings, application_name="memos_assets:up", pooled=False)
    facts = check_server(engine, create_extension=False)
    console.print(
        f"PostgreSQL {facts.server} with pgvector {facts.pgvector} is up: {shown(address)}",
        soft_wrap=True,
    )
    holds = not print_missing(engine)
    content = {"address": shown(address), "server": facts.server, "pgvector": facts.pgvector}
    write_json(json_file, {**content, "consolidated": holds})
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


def print_missing(engine: sa.Engine) -> bool:
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
    console.print(
        libpq_url(database_url(load_settings()), password=password), soft_wrap=True, no_wrap=True
    )
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
