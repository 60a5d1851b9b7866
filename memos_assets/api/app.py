"""The application: its routes, its limits, and what its requests share."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from memos_assets import __version__
from memos_assets.api import (
    board_posts,
    boards,
    health,
    memories,
    network,
    questions,
    quests,
    scratchpad,
    search,
    snapshots,
)
from memos_assets.api.dependencies import answer, doors_of, token_of
from memos_assets.api.doors import Doors, open_doors
from memos_assets.api.limits import Limits
from memos_assets.api.mcp_http import mcp_route, token_of_call
from memos_assets.api.mcp_server import mcp_server
from memos_assets.api.metrics import Metrics
from memos_assets.api.phases import Answering, SearchPhases
from memos_assets.api.pipeline import Pipeline
from memos_assets.api.problems import Problem, problem
from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.settings import Settings, load_settings
from memos_assets.settings.environment import metrics_folder

ROUTERS = (
    *(memories, network, search, questions, scratchpad, boards, board_posts, quests, snapshots),
    health,
)
_DESCRIPTION = (
    "Memory, search, answers, boards and snapshots of agents. Every path but /health and /ready "
    "needs `Authorization: Bearer TOKEN`; `memos-assets tokens create --user ID` makes a token, "
    "and a request sees what its user may see. Errors are problem details (RFC 9457) with a code, "
    "which `memos-assets explain CODE` documents."
)


def create_app(
    settings: Settings,
    *,
    make_doors: Callable[[Settings], Doors] = open_doors,
    searching: Answering | None = None,
    asking: Answering | None = None,
    folder: Path | None = None,
) -> FastAPI:
    """Return the application; nothing is connected before it starts.

    Args:
        settings: of this process.
        make_doors: opens the doors when the application starts.
        searching: answers searches, in place of `SearchPhases`.
        asking: answers questions, in place of `Pipeline`.
        folder: of the metrics of all workers; None: this one is alone.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        doors = app.state.doors = make_doors(settings)
        async with anyio.create_task_group() as tasks, server.session_manager.run():
            tasks.start_soon(doors.keep_notes)
            yield
            tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await doors.close()

    app = FastAPI(
        title="memos-assets",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        # They would be answered without a token, and load scripts of others.
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A span would have the text of an error, where the driver puts the values of a statement.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        redirect_slashes=False,
    )
    app.state.metrics = Metrics(folder)
    app.state.searching, app.state.asking = searching or SearchPhases(), asking or Pipeline()
    server = mcp_server(
        lambda: app.state.doors, app.state.searching, app.state.asking, token_of_call
    )
    app.router.routes.append(mcp_route(server, lambda: app.state.doors))
    for module in ROUTERS:
        app.include_router(module.router)
    app.add_middleware(Limits, settings=settings, metrics=app.state.metrics)
    app.add_exception_handler(MemosAssetsError, _ours)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.openapi = _described(app)  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> Response:
        await _identified(request)
        return answer(app.openapi())

    return app


def from_environment() -> FastAPI:
    """Return the application of the environment's settings, for a worker."""
    return create_app(load_settings(), folder=metrics_folder())


def _described(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return FastAPI's description with the token and the problem details."""
    original = app.openapi

    def described() -> dict[str, Any]:
        schema = original()
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {}).setdefault(
            Problem.__name__, Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        )
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"token": []}]
        for path in ("/health", "/ready"):
            schema["paths"][path]["get"]["security"] = []
        return schema

    return described


async def _identified(request: Request) -> None:
    """Refuse a token that does not hold, before anything is said of a path."""
    if not getattr(request.state, "identified", False):
        async with doors_of(request).visit(token_of(request)):
            request.state.identified = True


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, MemosAssetsError)
    return problem(error)


async def _not_valid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    try:
        await _identified(request)
    except AgentError as refused:
        return problem(refused)
    # Without the values: they may be memories.
    errors = [{"loc": list(one["loc"]), "type": one["type"]} for one in error.errors()]
    places = sorted({".".join(str(part) for part in one["loc"][:2]) for one in errors})
    what = f"the request is not valid at {', '.join(places)[:200]}"
    invalid = AgentError("M966", what, where="request", fix="see /openapi.json for the values")
    return problem(invalid, errors)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, MemosAssetsError):
        return problem(error.__cause__)  # of a body that ended while it was read
    with suppress(AttributeError):
        try:
            await _identified(request)
        except AgentError as refused:
            return problem(refused)
    if error.status_code == 405:
        code, what = "M961", "the path has no such method"
    elif error.status_code == 404:
        code, what = "M960", "there is no such path"
    else:
        code, what = "M966", "the request cannot be read"
    found = problem(AgentError(code, what, where="request", fix="see /openapi.json for the paths"))
    for name, value in (error.headers or {}).items():
        found.headers[name] = value
    return found
