"""Answers by the research pipeline: cited, with contradictions named, remembered, and cached.

The pipeline caches and remembers by itself; here a token becomes the user and spaces of a run.
"""

from contextlib import aclosing
from typing import Any, Final

from memos_assets.api.doors import Visit
from memos_assets.api.phases import Asking, Tell
from memos_assets.research import Budget
from memos_assets.research.events import Answered
from memos_assets.research.questioned import checked, checked_k
from memos_assets.settings import Settings

#: Share of the time of a request that a run takes at most; then it answers what it has found.
_SHARE: Final = 0.8


class Pipeline:
    """The research pipeline, for the bearer of a token."""

    def check(self, settings: Settings, asking: Asking) -> None:
        """Refuse a question that is none, M990 and M991, and what no run can keep, M992."""
        checked(asking.text)
        checked_k(asking.k)
        _budget(settings, asking).checked()

    async def answer(self, visit: Visit, asking: Asking, tell: Tell) -> dict[str, Any]:
        """Return the answer, from the cache or by a run, which a client that leaves cancels."""
        doors, bearer = visit.doors, visit.bearer
        await visit.act()  # refused where a space was taken away since the answer was cached
        await visit.rest()
        run = doors.research(
            asking.text,
            user=bearer.user,
            agent=bearer.agent,
            spaces=bearer.spaces,
            k=asking.k,
            budget=_budget(doors.settings, asking),
            fresh=asking.fresh,
        )
        async with aclosing(run) as events:
            async for event in events:
                if isinstance(event, Answered):
                    return event.answer.as_json()
                said = event.as_json()
                await tell(said.pop("event"), said)
        raise AssertionError("a run ends with an answer or an error")


def _budget(settings: Settings, asking: Asking) -> Budget:
    """Return what a run may take; the limits of requests end it later than its own."""
    most = _SHARE * settings.api_seconds
    wanted = Budget().seconds if asking.seconds is None else asking.seconds
    return Budget(min(wanted, most), asking.tokens)
