"""The way in: a token becomes a session that acts for its user.

Each request has one session of the role of services, and commits before it answers. The
transaction that verified the token goes on where the request needs no model; `Visit.rest` ends it
before a model is asked, so that no connection waits for one.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from memos_assets.api.bearers import Verifier, verifiers_of
from memos_assets.cache import Cache
from memos_assets.errors import AgentError
from memos_assets.memory import Memory, access_tokens, sessions_for
from memos_assets.memory.access_tokens import Bearer
from memos_assets.memory.acting import Acting
from memos_assets.memory.service import MemoryService
from memos_assets.research import Research
from memos_assets.search.embed import AsyncEmbedder, configured_async_embedder
from memos_assets.settings import Settings

APPLICATION_NAME = "memos_assets:api"
#: Seconds between two notes of when tokens were used last.
_SECONDS_OF_USES = 10.0


@dataclass(slots=True)
class Uses:
    """Uses of tokens since the last note in the database."""

    counts: Counter[int] = field(default_factory=Counter)
    last: dict[int, datetime] = field(default_factory=dict)

    def note(self, bearer: Bearer) -> None:
        """Count a use; nothing is written."""
        if bearer.token is not None:
            self.counts[bearer.token] += 1
            self.last[bearer.token] = datetime.now(UTC)

    def take(self) -> dict[int, tuple[int, datetime]]:
        """Return what was counted, and begin anew."""
        taken = {number: (count, self.last[number]) for number, count in self.counts.items()}
        self.counts.clear()
        self.last.clear()
        return taken


class Doors:
    """What the requests of a process share: sessions, memory, cache, pipeline, who is let in."""

    def __init__(
        self,
        settings: Settings,
        sessions: async_sessionmaker[AsyncSession],
        embedder: AsyncEmbedder | None = None,
    ) -> None:
        """Take sessions of the role of services; nothing is connected.

        Args:
            settings: of this process.
            sessions: from `sessions_for`.
            embedder: in place of the configured one.

        Raises:
            AgentError: M957 the key of JSON Web Tokens cannot be used; M993 a setting of the
                generator is missing.
        """
        self.settings, self.sessions = settings, sessions
        if embedder is None and settings.embedder is not None:
            embedder = configured_async_embedder(settings)
        self.embedder = embedder
        self.memory = Memory(settings, embedder=embedder)
        self.cache = Cache(embedder)
        self.research = Research(settings, sessions, embedder=embedder, cache=self.cache)
        self.verifiers: Sequence[Verifier] = verifiers_of(settings)
        self.uses = Uses()
        self._service: MemoryService | None = None

    @property
    def service(self) -> MemoryService:
        """memOS's memory service; it needs the keys of memOS's memories.

        Raises:
            AgentError: M740, M742 the keys are missing, or one is not a key.
        """
        if self._service is None:
            self._service = MemoryService(self.settings, embedder=self.embedder)
        return self._service

    async def identify(self, session: AsyncSession, token: str | None) -> Bearer:
        """Return for whom the bearer of a token acts.

        Raises:
            AgentError: M950 there is no token; M951 to M953, M957 it does not hold.
        """
        if not token:
            raise no_token()
        for verifier in self.verifiers:
            if (bearer := await verifier.verify(session, token)) is not None:
                self.uses.note(bearer)
                return bearer
        raise AgentError(
            "M951",
            "there is no such token",
            where="access token",
            fix="memos-assets tokens create --user ID makes one",
        )

    @asynccontextmanager
    async def visit(self, token: str | None) -> AsyncIterator["Visit"]:
        """Yield a visit of the bearer of a token; what it did not commit is rolled back.

        Raises:
            AgentError: as `identify`.
        """
        async with self.sessions() as session:
            yield Visit(self, session, await self.identify(session, token))

    async def note_uses(self) -> None:
        """Write when tokens were used last."""
        if taken := self.uses.take():
            async with self.sessions.begin() as session:
                await session.run_sync(access_tokens.add_uses, taken)

    async def keep_notes(self) -> None:
        """Write it every some seconds, until this is cancelled."""
        while True:
            await asyncio.sleep(_SECONDS_OF_USES)
            try:
                await self.note_uses()
            except sa.exc.SQLAlchemyError:
                continue  # the server is away: its requests say so

    async def close(self) -> None:
        """Write the notes of this process, and close its pool."""
        try:
            await self.note_uses()
            await self.cache.flush(self.sessions)
        except sa.exc.SQLAlchemyError:
            pass
        finally:
            await self.sessions.kw["bind"].dispose()


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a bearer: their session, in a transaction."""

    doors: Doors
    session: AsyncSession
    bearer: Bearer

    async def rest(self) -> None:
        """End the transaction, so that no connection is in use while a model answers."""
        await self.session.commit()

    async def act(self, spaces: Sequence[str] | None = None) -> Acting:
        """Let the transaction act for the user, with the spaces of the token, or some of them.

        Raises:
            AgentError: M702 a space that the token does not name, or that was not granted.
        """
        allowed = self.bearer.spaces
        wanted = allowed if spaces is None else tuple(spaces)
        if beyond := [name for name in wanted if name not in allowed]:
            raise AgentError(
                "M702",
                "the access token does not name this space",
                where="; ".join(map(repr, beyond)),
                fix="use a token that was made with --space",
            )
        return await self.doors.memory.act_as(
            self.session, user=self.bearer.user, agent=self.bearer.agent, spaces=wanted
        )

    def own(self, user: str | None) -> str:
        """Return the user of the token; another one, where a request names any, is refused.

        Raises:
            AgentError: M958.
        """
        if user is not None and user != self.bearer.user:
            raise AgentError(
                "M958",
                "the access token is of another user",
                where="user_id",
                fix="leave the user out, or use their own token",
            )
        return self.bearer.user


def no_token() -> AgentError:
    """Return the refusal of a request without a token, M950."""
    return AgentError(
        "M950",
        "there is no access token",
        where="Authorization",
        fix="send `Authorization: Bearer TOKEN`; memos-assets tokens create --user ID makes one",
    )


def open_doors(settings: Settings) -> Doors:
    """Return the doors on a database that is prepared and walled off.

    Raises:
        AgentError, TargetError, ServerError, UsageError: as `sessions_for` and `Doors`.
    """
    return Doors(settings, sessions_for(settings, application_name=APPLICATION_NAME))
