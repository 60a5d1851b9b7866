"""Whether the server lives, whether it can answer, and its metrics."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from fastapi import APIRouter, Request
from starlette.responses import Response

from memos_assets import __version__
from memos_assets.api.dependencies import Visiting, answer, doors_of, refusals
from memos_assets.api.metrics import Metrics
from memos_assets.api.problems import known, problem

router = APIRouter(tags=["health"])


@router.get(
    "/health",
    summary="Whether the process lives",
    responses={200: {"content": {"application/json": {"example": {"status": "ok"}}}}},
)
async def health() -> Mapping[str, str]:
    """Answer without the database, and without a token."""
    return {"status": "ok", "version": __version__}


@router.get("/ready", summary="Whether requests can be answered", responses=refusals(503))
async def ready(request: Request) -> Response:
    """Ask the database for a row, without a token; 503 where it does not answer."""
    try:
        async with doors_of(request).sessions() as session:
            await session.execute(sa.select(1))
    except Exception as error:  # noqa: BLE001  whatever it raises, it is not ready
        return problem(known(error))
    return answer({"status": "ok"})


@router.get(
    "/metrics",
    summary="Counts and times, for Prometheus",
    response_class=Response,
    responses={**refusals(), 200: {"content": {"text/plain": {}}}},
)
async def metrics(request: Request, visit: Visiting) -> Any:
    """Return all metrics; no label names a user, a memory or a space."""
    await visit.rest()
    found: Metrics = request.app.state.metrics
    return found.page()
