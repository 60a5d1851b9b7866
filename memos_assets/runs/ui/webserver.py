"""Dagster's web server behind the guard: `python -m memos_assets.runs.ui.webserver --port N ...`.

It takes the options of `dagster-webserver`.
"""

import sys
from typing import Any

from dagster_webserver import app as dagster_app
from dagster_webserver import cli as dagster_cli
from dagster_webserver.webserver import DagsterWebserver
from starlette.middleware import Middleware

from memos_assets.runs.ui.guard import OriginGuard


def guarded(port: int) -> type[DagsterWebserver[Any, Any]]:
    """Return Dagster's web server with the guard before everything that it serves."""

    class GuardedWebserver(DagsterWebserver[Any, Any]):
        """Dagster's web server behind the guard."""

        def build_middleware(self) -> list[Middleware]:
            """Put the guard first."""
            return [Middleware(OriginGuard, port=port), *super().build_middleware()]

    return GuardedWebserver


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it."""
    port = int(arguments[arguments.index("--port") + 1])
    # The class is looked up in this module when the server is made (dagster-webserver 1.13).
    vars(dagster_app)["DagsterWebserver"] = guarded(port)
    dagster_cli.dagster_webserver(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
