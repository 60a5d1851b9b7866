"""The command `serve`: answer agents over HTTP."""

import importlib.util
import pkgutil
from typing import Annotated

import typer

from memos_assets.cli.display import errors
from memos_assets.errors import AgentError
from memos_assets.settings import load_settings

#: The faces are imported by nothing, and need the extra `api`: they are named here, and found late.
_SERVE = "memos_assets.api.serve:serve"
_STDIO = "memos_assets.api.mcp_stdio:answer_stdio"
#: What the extra `api` brings -> the module by which it is known to be there.
_NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "pyjwt": "jwt", "mcp": "mcp"}


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="ADDRESS", help="In place of MEMOS_API_HOST.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65_535, help="In place of MEMOS_API_PORT.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that answer.")] = 1,
    verbose: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--verbose", "-v", help="Log each request, without what it says.")
    ] = False,
) -> int:
    """Answer agents over HTTP until it is stopped: memory, search, quests, snapshots, MCP at /mcp.

    Without a token of `tokens create` nothing but /health and /ready answers.
    """
    need_api("serve")
    given = {"api_host": host, "api_port": port}
    settings = load_settings().model_copy(
        update={name: value for name, value in given.items() if value is not None}
    )

    def say(address: str) -> None:
        errors.print(f"Answers at {address}; stop it by Ctrl+C or SIGTERM.", soft_wrap=True)

    pkgutil.resolve_name(_SERVE)(settings, workers=workers, say=say, verbose=verbose)
    return 0


def mcp() -> int:
    """Answer an agent over the Model Context Protocol on standard input and output.

    It acts for the user of MEMOS_API_TOKEN. Over HTTP `serve` answers at /mcp.
    """
    need_api("mcp")
    pkgutil.resolve_name(_STDIO)(load_settings())
    return 0


def need_api(command: str) -> None:
    """Refuse a command whose packages are missing.

    Raises:
        AgentError: M968.
    """
    missing = [name for name, module in _NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise AgentError(
            "M968",
            f"{', '.join(missing)} are not installed",
            where=f"memos-assets {command}",
            fix="pip install 'memos-assets[api]'",
        )
