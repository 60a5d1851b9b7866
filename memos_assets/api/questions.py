"""Ask: a question through the research pipeline, answered with its sources."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, refusals
from memos_assets.api.phases import Asking
from memos_assets.api.search import Meta, replied
from memos_assets.api.stream import MEDIA_TYPE
from memos_assets.research import Answer, Budget
from memos_assets.research.budget import FEWEST_TOKENS, MOST_TOKENS
from memos_assets.research.facade import K
from memos_assets.research.questioned import LONGEST_QUESTION, MOST_HITS

router = APIRouter(prefix="/api/v1/ask", tags=["ask"])


class ToAsk(BaseModel):
    """A question, and what its answer may take."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"question": "What does SRVO-062 mean?"}]},
    )

    question: str = Field(min_length=1, max_length=LONGEST_QUESTION)
    k: int = Field(default=K, ge=1, le=MOST_HITS, description="Hits of each table, and memories.")
    tokens: int = Field(
        default=Budget().tokens, ge=FEWEST_TOKENS, le=MOST_TOKENS, description="Of the answer."
    )
    seconds: float | None = Field(
        default=None,
        gt=0,
        le=3_600,
        description="After which no model is waited for; at most 0.8 of MEMOS_API_SECONDS.",
    )
    fresh: bool = Field(default=False, description="Compute again though the cache has an answer.")


class AskEnvelope(BaseModel):
    """memOS's envelope around an answer."""

    success: bool
    data: Answer
    meta: Meta


@router.post(
    "",
    response_model=AskEnvelope,
    responses={**refusals(409), 200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    summary="Answer a question with its sources",
)
async def ask(
    request: Request,
    visit: Visiting,
    body: ToAsk,
    accept: Annotated[str, Header()] = "*/*",
) -> Response:
    """Search, recall, compare what was found, write an answer that cites, remember, and cache.

    `origin` says where the answer is from: `computed`, or of the cache `exact`, `semantic`,
    `stale`. `recomputed` says why an earlier answer was not served, such as a source memory that
    changed. With `Accept: text/event-stream` each phase is told as it ends. Events:
    `phase_started`, `phase_finished`, `finding`, `contradiction`, `sentence`, `note`, then
    `answer`, which has all of it. A client that leaves ends the run; what was on its board by
    then stays there, and the next run of the question goes on from it.
    """
    asking = Asking(
        body.question, body.k, tokens=body.tokens, seconds=body.seconds, fresh=body.fresh
    )
    return await replied(request, visit, request.app.state.asking, asking, accept)
