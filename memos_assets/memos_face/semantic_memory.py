"""memOS's `agentic.semantic_memory`: `SemanticMemoryNetwork` and its values, over the network.

memOS's methods take no session. A network is made with what makes sessions (`sync_sessions_for`)
and a user, and each of its methods is one transaction of its own, on a connection that no caller
uses: nothing is committed for a caller, and no text is embedded while a connection is in use.
`persist` and `load` are the two that work in the caller's session. Code that wants a memory in the
transaction that caused it uses `memory.SyncMemory`, or `Memory` with asyncio.

Synchronous methods stay synchronous; those that embed a text do so by the network's embedder, and
are awaited as memOS awaits them. memOS's defects are not here: a traversal without a type returns
all, reverse edges are there after a restart, equal texts are one memory, a text that could not be
embedded waits, and statistics count a connection once. ``from_dict`` is left out: `load` and
`persist` are in its place.

Source: the memOS server, agentic/semantic_memory.py.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory import explicit_links, network, network_value, proposals, traverse
from memos_assets.memory.acting import act_as, acting_of
from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.nodes import IS_CURRENT, Node, is_readable, node_of, places, select_nodes
from memos_assets.memory.prepared import Asked
from memos_assets.postgres.schema.agent import memories, seed_ids
from memos_assets.settings import Settings, load_settings

Answer = TypeVar("Answer")


class MemoryType(StrEnum):
    """Kinds of memories."""

    FINDING = "finding"
    SOURCE = "source"
    ENTITY = "entity"
    REASONING = "reasoning"
    OBSERVATION = "observation"
    EXAMPLE = "example"
    QUESTION = "question"
    ANSWER = "answer"


class ConnectionType(StrEnum):
    """Types of connections."""

    SEMANTIC = "semantic"
    REFERENCE = "reference"
    SUPPORTS = "supports"
    CONTRADICTS = "contradicts"
    DERIVED_FROM = "derived_from"
    ANSWERS = "answers"
    RELATED = "related"


@dataclass
class MemoryConnection:
    """A connection, seen from the memory that has it."""

    target_id: str
    connection_type: ConnectionType
    strength: float = 0.5
    bidirectional: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Memory:
    """A memory, as memOS has it. Times are seconds since 1970."""

    id: str
    memory_type: MemoryType
    content: str
    attributes: dict[str, Any] = field(default_factory=dict)
    embedding: list[float] | None = None
    connections: list[MemoryConnection] = field(default_factory=list)
    created_at: float = 0.0
    access_count: int = 0
    last_accessed: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "id": self.id,
            "memory_type": self.memory_type.value,
            "content": self.content,
            "attributes": self.attributes,
            "connections": [
                {
                    "target_id": one.target_id,
                    "connection_type": one.connection_type.value,
                    "strength": one.strength,
                    "bidirectional": one.bidirectional,
                    "metadata": one.metadata,
                }
                for one in self.connections
            ],
            "created_at": self.created_at,
            "access_count": self.access_count,
            "last_accessed": self.last_accessed,
        }


class SemanticMemoryNetwork:
    """memOS's network of one user, in their private space."""

    def __init__(
        self,
        sessions: Callable[[], AbstractContextManager[Session]],
        user_id: str,
        *,
        agent: str = "",
        settings: Settings | None = None,
        memory: SyncMemory | None = None,
    ) -> None:
        """Take what makes sessions, and for whom; nothing is opened.

        Thresholds and caps are those of the registered model and of the network, so memOS's
        arguments of them have no place here.

        Args:
            sessions: from `sync_sessions_for`, or a ``sessionmaker``.
            user_id: whose network it is.
            agent: recorded with what is remembered.
            settings: of the embedder; None: from the environment.
            memory: in place of one made from the settings.
        """
        self._sessions, self._user, self._agent = sessions, user_id, agent
        self._memory = memory or SyncMemory(settings or load_settings())

    async def add_memory(
        self,
        content: str,
        memory_type: MemoryType,
        attributes: dict[str, Any] | None = None,
        explicit_connections: Sequence[tuple[str, ConnectionType]] | None = None,
    ) -> Memory:
        """Remember a text, once; connections to unknown memories are left out."""
        prepared = await asyncio.to_thread(
            self._memory.prepare,
            content,
            kind=MemoryType(memory_type).value,
            attributes=attributes or {},
        )

        def work(session: Session) -> Memory:
            kept = self._memory.remember(session, prepared)
            for target, connection in explicit_connections or ():
                try:
                    explicit_links.connect(
                        session, kept.id, _id(session, target), ConnectionType(connection).value
                    )
                except AgentError as error:
                    if error.code not in {"M705", "M752"}:
                        raise
            return self._one(session, kept.id)

        return await asyncio.to_thread(self._run, work)

    def get_memory(self, memory_id: str) -> Memory | None:
        """Return a memory and count the access; None: there is none."""

        def work(session: Session) -> Memory:
            one = network.get(session, _id(session, memory_id))
            return self._one(session, one.id)

        return self._if_there(work)

    def get_connected(
        self,
        memory_id: str,
        connection_type: ConnectionType | None = None,
        min_strength: float = 0.0,
    ) -> list[tuple[Memory, MemoryConnection]]:
        """Return the memories at the other ends of its connections, whichever made them."""
        wanted = None if connection_type is None else ConnectionType(connection_type).value

        def work(session: Session) -> list[tuple[Memory, MemoryConnection]]:
            found = network.get_connected(session, _id(session, memory_id), wanted, min_strength)
            return [(_memory(one.memory), _connection(one)) for one in found]

        return self._if_there(work) or []

    def traverse(
        self,
        start_id: str,
        max_depth: int = 3,
        min_strength: float = 0.3,
        target_type: MemoryType | None = None,
    ) -> list[tuple[Memory, float]]:
        """Return the memories that connections lead to, with the strength of the best way."""
        kind = None if target_type is None else MemoryType(target_type).value

        def work(session: Session) -> list[tuple[Memory, float]]:
            found = traverse.traverse(
                session, _id(session, start_id), max_depth, min_strength, target_kind=kind
            )
            return [(_memory(one.memory), one.strength) for one in found]

        return self._if_there(work) or []

    def get_by_type(self, memory_type: MemoryType) -> list[Memory]:
        """Return the current memories of a kind, in the order in which they were remembered."""
        kind = MemoryType(memory_type).value
        return self._run(lambda session: [_memory(one) for one in _current(session, kind)])

    async def find_similar(
        self, query: str, top_k: int = 5, memory_type: MemoryType | None = None
    ) -> list[tuple[Memory, float]]:
        """Return the most similar memories with their cosine; none where nothing is embedded."""
        found = await self._similar(query, top_k, memory_type, 0.0)
        return [(_memory(one.memory), one.similarity) for one in found]

    async def find_similar_with_decay(
        self,
        query: str,
        top_k: int = 5,
        memory_type: MemoryType | None = None,
        recency_weight: float = 0.3,
    ) -> list[tuple[Memory, float, float]]:
        """Return memories with their score by similarity and use, and with their cosine."""
        found = await self._similar(query, top_k, memory_type, recency_weight)
        return [(_memory(one.memory), one.score, one.similarity) for one in found]

    async def _similar(
        self, query: str, k: int, memory_type: MemoryType | None, weight: float
    ) -> list[network.Similar]:
        asked: Asked = await asyncio.to_thread(self._memory.query, query)
        if asked.embedding is None:
            return []
        kind = None if memory_type is None else MemoryType(memory_type).value

        def work(session: Session) -> list[network.Similar]:
            return network.find_similar_with_decay(session, asked, k, kind, weight)

        return await asyncio.to_thread(self._run, work)

    def boost_memory(self, memory_id: str, boost_amount: float = 0.1) -> bool:
        """Strengthen a memory; false: there is none."""

        def work(session: Session) -> bool:
            network.boost(session, _id(session, memory_id), boost_amount)
            return True

        return bool(self._if_there(work))

    def consolidate_memories(
        self,
        strength_threshold: float = 0.1,
        min_age_days: int = 7,
        dry_run: bool = True,  # noqa: FBT001, FBT002  memOS's signature
    ) -> dict[str, Any]:
        """Propose to forget weak memories; nothing is deleted, whatever ``dry_run`` is.

        Without ``dry_run`` the proposals are entered, for somebody to decide on them.
        """
        if (strength_threshold, min_age_days) != (proposals.WEAK, proposals.OLD_DAYS):
            raise ValueError(
                f"the rule is a strength below {proposals.WEAK} after {proposals.OLD_DAYS} days"
            )
        found = self._run(lambda session: proposals.consolidate(session, dry_run=dry_run))
        weak = [one.memory.id for one in found if one.action == "forget"]
        return {"weak_memories": len(weak), "memory_ids": weak, "deleted": 0, "dry_run": dry_run}

    def get_stats(self) -> dict[str, Any]:
        """Return the size of the network; see `network.stats`."""
        return self._run(network.stats)

    def to_dict(self) -> dict[str, Any]:
        """Return the whole network as JSON has it."""

        def work(session: Session) -> dict[str, Any]:
            loaded = network_value.load(session, self._user)
            found = {one.id: _memory(one) for one in loaded.memories.values()}
            for link in loaded.links:
                for end, other in ((link.a, link.b), (link.b, link.a)):
                    found[end].connections.append(
                        MemoryConnection(
                            other,
                            ConnectionType(link.type),
                            link.weight,
                            link.direction in {"none", "both"},
                        )
                    )
            return {"memories": {one: memory.to_dict() for one, memory in found.items()}}

        return self._run(work)

    def load(self, session: Session, user_id: str) -> network_value.Network:
        """Load a user's network in the caller's session; see `network_value.load`."""
        return network_value.load(session, user_id)

    def persist(self, session: Session, changed: network_value.Network) -> network_value.Persisted:
        """Persist a changed network in the caller's session; see `network_value.persist`."""
        return network_value.persist(session, changed)

    def _run(self, work: Callable[[Session], Answer]) -> Answer:
        # session-rule: S001 because memOS's signatures have no session: each call is a transaction
        with self._sessions() as session, session.begin():
            act_as(session, user=self._user, agent=self._agent)
            return work(session)

    def _if_there(self, work: Callable[[Session], Answer]) -> Answer | None:
        try:
            return self._run(work)
        except AgentError as error:
            if error.code != "M705":
                raise
            return None

    def _one(self, session: Session, memory_id: str) -> Memory:
        (place,) = places(session, [memory_id])
        row = session.execute(select_nodes().where(memories.c.number == place.number)).one()
        one = _memory(node_of(row))
        one.connections = [_connection(link) for link in network.get_connected(session, memory_id)]
        return one


def _id(session: Session, memory_id: str) -> str:
    """Return our id of a memory; memOS's own, of 12 digits, is known of those that were seeded."""
    space = acting_of(session).private
    statement = (
        sa.select(memories.c.id)
        .join(seed_ids, seed_ids.c.memory == memories.c.number)
        .where(seed_ids.c.original == memory_id, seed_ids.c.space_id == space)
        .order_by(seed_ids.c.seed)
        .limit(1)
    )
    found = None if "-" in memory_id else session.execute(statement).scalar_one_or_none()
    return memory_id if found is None else str(found)


def _current(session: Session, kind: str) -> list[Node]:
    acting = acting_of(session)
    statement = select_nodes().where(
        is_readable(acting, memories.c.space_id), memories.c.kind == kind, IS_CURRENT
    )
    return [node_of(row) for row in session.execute(statement.order_by(memories.c.number))]


def _memory(node: Node) -> Memory:
    recorded = _seconds(node.recorded_at)
    accessed = recorded if node.accessed_at is None else _seconds(node.accessed_at)
    attributes: Mapping[str, Any] = node.attributes
    return Memory(
        id=node.id,
        memory_type=MemoryType(node.kind),
        content=node.content,
        attributes=dict(attributes),
        created_at=recorded,
        access_count=node.accesses,
        last_accessed=accessed,
    )


def _seconds(moment: datetime) -> float:
    return moment.astimezone(UTC).timestamp()


def _connection(one: network.Connected) -> MemoryConnection:
    return MemoryConnection(
        one.memory.id, ConnectionType(one.type), one.weight, one.way in {"none", "both"}
    )
