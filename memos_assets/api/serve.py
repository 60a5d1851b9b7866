"""Run the application: one process, or workers under a supervisor that replaces those that end."""

import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import uvicorn
from uvicorn.supervisors import Multiprocess

from memos_assets.api.app import from_environment
from memos_assets.api.doors import open_doors
from memos_assets.errors import AgentError
from memos_assets.settings import Settings
from memos_assets.settings.environment import share_metrics

FACTORY: Final = f"{from_environment.__module__}:{from_environment.__name__}"


def serve(
    settings: Settings, *, workers: int = 1, say: Callable[[str], None], verbose: bool = False
) -> None:
    """Answer requests until SIGTERM or SIGINT; those that have begun may end.

    Args:
        settings: address, port and limits; workers read them from the environment again.
        workers: processes.
        say: told the address, once it is bound.
        verbose: log each request.

    Raises:
        AgentError: M967 the address cannot be bound.
        AgentError, TargetError, ServerError, UsageError: as `open_doors`, before any worker starts.
    """
    # The database is prepared once, and what is wrong is said once.
    open_doors(settings)
    bound = bind(settings)
    host, port = bound.getsockname()[:2]
    say(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    config = uvicorn.Config(
        FACTORY, factory=True, workers=workers, **options(settings, verbose=verbose)
    )
    if workers == 1:
        uvicorn.Server(config).run(sockets=[bound])
        return
    with tempfile.TemporaryDirectory(prefix="memos-metrics-") as folder:
        share_metrics(Path(folder))
        Multiprocess(config, sockets=[bound]).run()


def options(settings: Settings, *, verbose: bool = False) -> dict[str, Any]:
    """Return the options of uvicorn that every way of running shares."""
    return {
        "host": settings.api_host,
        "port": settings.api_port,
        # Ours has no query, which may be a memory.
        "access_log": False,
        "log_config": _logging("INFO" if verbose else "WARNING"),
        "server_header": False,
        "timeout_graceful_shutdown": settings.api_stop_seconds,
        "ws": "none",
    }


def _logging(level: str) -> dict[str, Any]:
    """Return how every worker logs: to standard error, ours at a level of its own."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(process)d %(message)s"}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "loggers": {
            "memos_assets": {"handlers": ["stderr"], "level": level, "propagate": False},
            "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        },
    }


def bind(settings: Settings) -> socket.socket:
    """Return a socket on the address of the settings.

    Raises:
        AgentError: M967.
    """
    host, port = settings.api_host, settings.api_port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        raise AgentError(
            "M967",
            f"the address cannot be bound ({getattr(error, 'strerror', None) or error})",
            where=f"{host}:{port}",
            fix="stop what is there, or set MEMOS_API_HOST and MEMOS_API_PORT (--host, --port)",
        ) from None
    bound.set_inheritable(True)
    return bound
