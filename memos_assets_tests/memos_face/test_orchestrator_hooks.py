"""memOS's hooks under their names, with asyncio, in the caller's transaction."""

import asyncio

from memos_assets.memory import Memory, open_memory_sessions
from memos_assets.memos_face.orchestrator_hooks import OrchestratorHooks
from memos_assets.memos_face.raise_scratchpad import ObservationType, ReasoningType
from memos_assets.settings import Settings

R = ("r-1", "Why does the robot stop?")


class Orchestrator(OrchestratorHooks):
    """As memOS's own, which inherits the hooks."""


def test_a_request_is_recorded_rated_and_promoted_or_nothing_of_it(settings: Settings) -> None:
    async def requests() -> tuple[float, list[str], float]:
        orchestrator, memory = Orchestrator(), Memory(settings)
        async with open_memory_sessions(settings) as sessions:
            async with sessions.begin() as session:
                await memory.act_as(session, user="u1", agent="planner")
                seen = await orchestrator._record_observation(
                    session, *R, "F1 is blown.", ObservationType.TOOL_OUTPUT, "tool:ohm", 0.9
                )
                await orchestrator._record_reasoning(
                    *(session, *R, "Replace F1.", ReasoningType.DEDUCTION, 0.7, "planner"),
                    [seen.id],
                )
                signal = await orchestrator._get_quality_signal(session, *R)
                found = await orchestrator._promote_findings(session, R[0])
                await orchestrator._add_to_semantic_memory(
                    session,
                    "The robot stops because F1 is blown.",
                    "answer",
                    {"confidence": 0.8},
                    source_ids=[one.id for one in found],
                    explicit_connections=[(found[0].id, "supports")],
                )
            # memOS rolls back where the rest of the request fails.
            async with sessions() as session:
                await memory.act_as(session, user="u1", agent="planner")
                await orchestrator._record_observation(
                    session, "r-2", "q", "lost", ObservationType.DOCUMENT, "web"
                )
                await session.rollback()
                await memory.act_as(session, user="u1")
                lost = await orchestrator._get_quality_signal(session, "r-2")
            return signal.overall_quality, [one.id for one in found], lost.coverage

    quality, found, lost = asyncio.run(requests())
    assert abs(quality - (0.4 * 0.9 + 0.4 * 0.7 + 0.2 * 0.2)) < 1e-9
    assert len(found) == 2
    assert lost == 0.0
