"""The face of memory: what an agent developer writes, with asyncio (`Memory`) and without it.

Both prepare with the embedder of the settings and hand every other call to one implementation, a
function of the caller's session. Neither opens, commits, rolls back or closes a session.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Unpack, overload
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.memory import (
    acting,
    context,
    corrections,
    histories,
    prepared,
    recall,
    remember,
    spaces,
)
from memos_assets.memory.acting import Acting
from memos_assets.memory.histories import UNCHANGED, Changed, History
from memos_assets.memory.moments import Moment
from memos_assets.memory.network_calls import NetworkCalls, SyncNetworkCalls
from memos_assets.memory.prepared import About, Asked, Draft, Prepared
from memos_assets.memory.recall import Recalled, Wanted
from memos_assets.memory.remember import Kept
from memos_assets.memory.spaces import Access, Space
from memos_assets.search.embed import (
    AsyncEmbedder,
    Embedder,
    configured_async_embedder,
    configured_embedder,
)
from memos_assets.settings import Settings


class Memory(NetworkCalls):
    """Memory of agents, for asyncio. It has an embedder, and no session."""

    def __init__(self, settings: Settings, *, embedder: AsyncEmbedder | None = None) -> None:
        """Take the embedder of the settings, or another one. Nothing is loaded or connected.

        Args:
            settings: ``embedder`` and what belongs to it. Without one, what is remembered waits
                for an embedding, and recalls are by words alone.
            embedder: in place of the one of the settings.
        """
        self._embedder = embedder
        self._settings = settings
        if embedder is None and settings.embedder is not None:
            self._embedder = configured_async_embedder(settings)

    @property
    def model(self) -> str:
        """The model that embeds, by its name; "" where there is no embedder."""
        return "" if self._embedder is None else self._embedder.model

    async def prepare(self, text: str, **about: Unpack[About]) -> Prepared:
        """Check a memory and embed it; see `prepared.draft`. No connection is in use."""
        return (await self._prepared([prepared.draft(text, self.model, about)]))[0]

    async def prepare_many(self, items: Iterable[str | Mapping[str, Any]]) -> list[Prepared]:
        """Prepare several memories with one call of the embedder.

        Args:
            items: texts, or the arguments of `prepare` by their names, with ``text``.
        """
        return await self._prepared(_drafts(items, self.model))

    async def _prepared(self, drafts: Sequence[Draft]) -> list[Prepared]:
        texts = [text for one in drafts for text in one.texts()]
        vectors = await prepared.embedded(self._embedder, texts)
        return prepared.finish_all(drafts, self.model, vectors)

    async def query(self, text: str) -> Asked:
        """Embed a question; without an answer it has no embedding. No connection is in use."""
        asked = prepared.question(text)
        if self._embedder is None:
            return Asked(asked, None, "")
        try:
            return prepared.answered(asked, self.model, await self._embedder.embed_query(asked))
        except MemosAssetsError:
            return Asked(asked, None, self.model)

    async def act_as(
        self, session: AsyncSession, *, user: str, agent: str = "", spaces: Iterable[str] = ()
    ) -> Acting:
        """Let the transaction act for a user; see `acting.act_as`."""
        return await session.run_sync(acting.act_as, user=user, agent=agent, spaces=spaces)

    @overload
    async def remember(
        self, session: AsyncSession, prepared: Prepared, *, space: str | None = None
    ) -> Kept: ...
    @overload
    async def remember(
        self, session: AsyncSession, prepared: Sequence[Prepared], *, space: str | None = None
    ) -> list[Kept]: ...
    async def remember(
        self,
        session: AsyncSession,
        prepared: Prepared | Sequence[Prepared],
        *,
        space: str | None = None,
    ) -> Kept | list[Kept]:
        """Remember what was prepared; see `remember.remember`."""
        return await session.run_sync(remember.remember, prepared, space=space)

    async def recall(
        self,
        session: AsyncSession,
        asked: Asked,
        k: int = 10,
        *,
        snapshot: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> Recalled:
        """Return the memories that answer a question best; see `recall.recall`.

        Args:
            session, asked, k, wanted: of `recall.recall`.
            snapshot: id or label of a snapshot: what was known then; see `recall_snapshot`.
        """
        if snapshot is None:
            return await session.run_sync(recall.recall, asked, k, **wanted)
        from memos_assets.memory import recall_snapshot  # brings pyarrow

        ask = recall_snapshot.recall_snapshot_async
        return await ask(self._settings, session, snapshot, asked, k, **wanted)

    async def context(
        self,
        session: AsyncSession,
        asked: Asked,
        max_tokens: int = 1_500,
        *,
        as_of: Moment | None = None,
        known_at: Moment | None = None,
    ) -> str:
        """Return what is remembered about a question as a text; see `context.context`."""
        return await session.run_sync(
            context.context, asked, max_tokens, as_of=as_of, known_at=known_at
        )

    async def history(self, session: AsyncSession, memory: str | UUID) -> History:
        """Return the beliefs about a memory; see `histories.history`."""
        return await session.run_sync(histories.history, memory)

    async def correct(self, session: AsyncSession, memory: str | UUID, prepared: Prepared) -> Kept:
        """Put a memory in the place of another; see `corrections.correct`."""
        return await session.run_sync(corrections.correct, memory, prepared)

    async def supersede(
        self,
        session: AsyncSession,
        memory: str | UUID,
        by: str | UUID,
        reason: str | None = None,
    ) -> Changed:
        """Have a memory end where another starts; see `corrections.supersede`."""
        return await session.run_sync(corrections.supersede, memory, by, reason)

    async def retract(
        self, session: AsyncSession, memory: str | UUID, reason: str | None = None
    ) -> Changed:
        """State that a memory never was true; see `histories.retract`."""
        return await session.run_sync(histories.retract, memory, reason)

    async def retract_many(
        self, session: AsyncSession, ids: Iterable[str | UUID], reason: str | None = None
    ) -> list[Changed]:
        """Retract several memories; see `histories.retract_many`."""
        return await session.run_sync(histories.retract_many, ids, reason)

    async def restore(
        self, session: AsyncSession, memory: str | UUID, reason: str | None = None
    ) -> Changed:
        """Undo that a memory was retracted or ended; see `histories.restore`."""
        return await session.run_sync(histories.restore, memory, reason)

    async def set_validity(
        self,
        session: AsyncSession,
        memory: str | UUID,
        *,
        valid_from: Moment | None = UNCHANGED,
        valid_until: Moment | None = UNCHANGED,
        reason: str | None = None,
    ) -> Changed:
        """Say since and until when a memory is true; see `histories.set_validity`."""
        dates = {"valid_from": valid_from, "valid_until": valid_until}
        return await session.run_sync(histories.set_validity, memory, reason=reason, **dates)

    async def create_space(self, session: AsyncSession, name: str) -> Space:
        """Make a shared space; see `spaces.create_space`."""
        return await session.run_sync(spaces.create_space, name)

    async def grant(
        self, session: AsyncSession, space: str, user: str, access: Access = "read"
    ) -> None:
        """Let another user read, or read and write, a space; see `spaces.grant`."""
        await session.run_sync(spaces.grant, space, user, access)

    async def revoke(self, session: AsyncSession, space: str, user: str) -> bool:
        """Take a grant back; see `spaces.revoke`."""
        return await session.run_sync(spaces.revoke, space, user)

    async def granted(self, session: AsyncSession, space: str) -> dict[str, Access]:
        """Return user -> access of a space; see `spaces.granted`."""
        return await session.run_sync(spaces.granted, space)

    async def list_spaces(self, session: AsyncSession) -> list[Space]:
        """Return the user's spaces; see `spaces.list_spaces`."""
        return await session.run_sync(spaces.list_spaces)

    async def drop_space(self, session: AsyncSession, space: str) -> None:
        """Drop a shared space that holds no memory; see `spaces.drop_space`."""
        await session.run_sync(spaces.drop_space, space)


class SyncMemory(SyncNetworkCalls):
    """As `Memory`, without asyncio."""

    def __init__(self, settings: Settings, *, embedder: Embedder | None = None) -> None:
        """As `Memory`."""
        self._embedder = embedder
        self._settings = settings
        if embedder is None and settings.embedder is not None:
            self._embedder = configured_embedder(settings)

    @property
    def model(self) -> str:
        """The model that embeds, by its name; "" where there is no embedder."""
        return "" if self._embedder is None else self._embedder.model

    def prepare(self, text: str, **about: Unpack[About]) -> Prepared:
        """As `Memory.prepare`."""
        return self._prepared([prepared.draft(text, self.model, about)])[0]

    def prepare_many(self, items: Iterable[str | Mapping[str, Any]]) -> list[Prepared]:
        """As `Memory.prepare_many`."""
        return self._prepared(_drafts(items, self.model))

    def _prepared(self, drafts: Sequence[Draft]) -> list[Prepared]:
        texts = [text for one in drafts for text in one.texts()]
        vectors = prepared.embedded_now(self._embedder, texts)
        return prepared.finish_all(drafts, self.model, vectors)

    def query(self, text: str) -> Asked:
        """As `Memory.query`."""
        asked = prepared.question(text)
        if self._embedder is None:
            return Asked(asked, None, "")
        try:
            return prepared.answered(asked, self.model, self._embedder.embed_query(asked))
        except MemosAssetsError:
            return Asked(asked, None, self.model)

    def act_as(
        self, session: Session, *, user: str, agent: str = "", spaces: Iterable[str] = ()
    ) -> Acting:
        """As `Memory.act_as`."""
        return acting.act_as(session, user=user, agent=agent, spaces=spaces)

    @overload
    def remember(
        self, session: Session, prepared: Prepared, *, space: str | None = None
    ) -> Kept: ...
    @overload
    def remember(
        self, session: Session, prepared: Sequence[Prepared], *, space: str | None = None
    ) -> list[Kept]: ...
    def remember(
        self,
        session: Session,
        prepared: Prepared | Sequence[Prepared],
        *,
        space: str | None = None,
    ) -> Kept | list[Kept]:
        """As `Memory.remember`."""
        return remember.remember(session, prepared, space=space)

    def recall(
        self,
        session: Session,
        asked: Asked,
        k: int = 10,
        *,
        snapshot: str | None = None,
        **wanted: Unpack[Wanted],
    ) -> Recalled:
        """As `Memory.recall`."""
        if snapshot is None:
            return recall.recall(session, asked, k, **wanted)
        from memos_assets.memory import recall_snapshot  # brings pyarrow

        return recall_snapshot.recall_snapshot(
            self._settings, session, snapshot, asked, k, **wanted
        )

    def context(
        self,
        session: Session,
        asked: Asked,
        max_tokens: int = 1_500,
        *,
        as_of: Moment | None = None,
        known_at: Moment | None = None,
    ) -> str:
        """As `Memory.context`."""
        return context.context(session, asked, max_tokens, as_of=as_of, known_at=known_at)

    def history(self, session: Session, memory: str | UUID) -> History:
        """As `Memory.history`."""
        return histories.history(session, memory)

    def correct(self, session: Session, memory: str | UUID, prepared: Prepared) -> Kept:
        """As `Memory.correct`."""
        return corrections.correct(session, memory, prepared)

    def supersede(
        self, session: Session, memory: str | UUID, by: str | UUID, reason: str | None = None
    ) -> Changed:
        """As `Memory.supersede`."""
        return corrections.supersede(session, memory, by, reason)

    def retract(self, session: Session, memory: str | UUID, reason: str | None = None) -> Changed:
        """As `Memory.retract`."""
        return histories.retract(session, memory, reason)

    def retract_many(
        self, session: Session, ids: Iterable[str | UUID], reason: str | None = None
    ) -> list[Changed]:
        """As `Memory.retract_many`."""
        return histories.retract_many(session, ids, reason)

    def restore(self, session: Session, memory: str | UUID, reason: str | None = None) -> Changed:
        """As `Memory.restore`."""
        return histories.restore(session, memory, reason)

    def set_validity(
        self,
        session: Session,
        memory: str | UUID,
        *,
        valid_from: Moment | None = UNCHANGED,
        valid_until: Moment | None = UNCHANGED,
        reason: str | None = None,
    ) -> Changed:
        """As `Memory.set_validity`."""
        dates = {"valid_from": valid_from, "valid_until": valid_until}
        return histories.set_validity(session, memory, reason=reason, **dates)

    def create_space(self, session: Session, name: str) -> Space:
        """As `Memory.create_space`."""
        return spaces.create_space(session, name)

    def grant(self, session: Session, space: str, user: str, access: Access = "read") -> None:
        """As `Memory.grant`."""
        spaces.grant(session, space, user, access)

    def revoke(self, session: Session, space: str, user: str) -> bool:
        """As `Memory.revoke`."""
        return spaces.revoke(session, space, user)

    def granted(self, session: Session, space: str) -> dict[str, Access]:
        """As `Memory.granted`."""
        return spaces.granted(session, space)

    def list_spaces(self, session: Session) -> list[Space]:
        """As `Memory.list_spaces`."""
        return spaces.list_spaces(session)

    def drop_space(self, session: Session, space: str) -> None:
        """As `Memory.drop_space`."""
        spaces.drop_space(session, space)


def _drafts(items: Iterable[str | Mapping[str, Any]], model: str) -> list[Draft]:
    drafts = []
    for item in items:
        given = {"text": item} if isinstance(item, str) else dict(item)
        if "text" not in given:
            raise AgentError(
                "M730",
                "one of the memories has no text",
                where="memory",
                fix="pass texts, or mappings with the key text",
            )
        text = given.pop("text")
        about: About = given  # type: ignore[assignment]  # checked by draft
        drafts.append(prepared.draft(text, model, about))
    return drafts
