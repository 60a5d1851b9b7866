"""The hooks of memOS's orchestrator under its names, for asyncio; the caller's session comes first.

memOS's orchestrator inherits from `OrchestratorHooks`, and commits at the end of its request.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from memos_assets.memory import Kept, Prepared, hooks
from memos_assets.memory.hooks import PROMOTED
from memos_assets.memory.nodes import Id
from memos_assets.memory.quality_signal import QualitySignal


class OrchestratorHooks:
    """What memOS's orchestrator calls while it works on a request; see `memory.hooks`."""

    async def _add_to_semantic_memory(
        self,
        session: AsyncSession,
        content: str | Prepared,
        memory_type: Any,
        attributes: Mapping[str, Any] | None = None,
        source_ids: Sequence[Id] | None = None,
        explicit_connections: Iterable[tuple[Id, Any]] | None = None,
    ) -> Kept:
        """Remember a content, its sources and its links; see `hooks.add_to_semantic_memory`."""
        linked = [(other, _text(kind)) for other, kind in explicit_connections or ()]
        return await session.run_sync(
            hooks.add_to_semantic_memory,
            content,
            _text(memory_type),
            attributes,
            source_ids,
            linked,
        )

    async def _record_observation(
        self,
        session: AsyncSession,
        request_id: str,
        query: str,
        content: str | Prepared,
        observation_type: Any,
        source: str,
        quality_score: float = 0.5,
    ) -> Kept:
        """Remember an observation of a request; see `hooks.record_observation`."""
        kind = _text(observation_type)
        return await session.run_sync(
            hooks.record_observation, request_id, query, content, kind, source, quality_score
        )

    async def _record_reasoning(
        self,
        session: AsyncSession,
        request_id: str,
        query: str,
        conclusion: str | Prepared,
        reasoning_type: Any,
        confidence: float = 0.5,
        agent: str = "",
        premises: Sequence[Id] = (),
    ) -> Kept:
        """Remember a conclusion of a request; see `hooks.record_reasoning`."""
        kind = _text(reasoning_type)
        return await session.run_sync(
            hooks.record_reasoning,
            *(request_id, query, conclusion, kind, confidence, agent, premises),
        )

    async def _get_quality_signal(
        self,
        session: AsyncSession,
        request_id: str,
        query: str = "",  # noqa: ARG002  memOS passes it
    ) -> QualitySignal:
        """Return the quality of a request so far; ``query`` is memOS's, and not needed."""
        return await session.run_sync(hooks.get_quality_signal, request_id)

    async def _promote_findings(
        self, session: AsyncSession, request_id: str, least: float = PROMOTED
    ) -> list[Kept]:
        """Make findings of what is good enough, each once; see `hooks.promote_findings`."""
        return await session.run_sync(hooks.promote_findings, request_id, least=least)


def _text(value: Any) -> str:
    """Return the text of memOS's enumerations, or a text as it is."""
    text = getattr(value, "value", value)
    return text if isinstance(text, str) else str(text)
