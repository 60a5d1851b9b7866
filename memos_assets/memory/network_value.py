"""A user's network as a value: loaded, changed without a session, persisted in the caller's.

What was remembered, linked or retracted by others in the meantime stays: `persist` writes what was
changed in this value, and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import act_as, acting_of
from memos_assets.memory.explicit_links import EXPLICIT_WEIGHT, Direction, connect, disconnect
from memos_assets.memory.histories import retract_many
from memos_assets.memory.nodes import IS_CURRENT, Node, node_of, select_nodes
from memos_assets.memory.prepared import Prepared
from memos_assets.memory.remember import Kept, remember
from memos_assets.postgres.schema.agent import links, memories

_DIRECTIONS: Final = {0: "none", 1: "forward", -1: "backward", 2: "both"}


@dataclass(frozen=True, slots=True)
class Link:
    """A link of a loaded network; ``direction`` is seen from ``a``."""

    a: str
    b: str
    type: str
    weight: float
    direction: str
    automatic: bool


@dataclass(frozen=True, slots=True)
class _NewLink:
    a: str | Prepared
    b: str | Prepared
    type: str
    weight: float
    direction: Direction | None


@dataclass(slots=True, eq=False)
class Changes:
    """What was changed in a network and is not written: calls in their order."""

    added: list[Prepared] = field(default_factory=list)
    connected: list[_NewLink] = field(default_factory=list)
    disconnected: list[tuple[str, str, str]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Network:
    """Memories and links of a user, and what was changed since they were loaded.

    Attributes:
        user: their id.
        memories: id -> memory; those that are current.
        links: among them.
        changes: that `persist` writes.
    """

    user: str
    memories: dict[str, Node] = field(default_factory=dict)
    links: list[Link] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)

    @property
    def is_changed(self) -> bool:
        """Whether `persist` has anything to write."""
        return bool(
            self.changes.added
            or self.changes.connected
            or self.changes.disconnected
            or self.changes.removed
        )

    def add(self, prepared: Prepared) -> Prepared:
        """Add a memory from `Memory.prepare`; it has an id when it is persisted."""
        self.changes.added.append(prepared)
        return prepared

    def connect(
        self,
        a: str | Prepared,
        b: str | Prepared,
        link_type: str,
        weight: float = EXPLICIT_WEIGHT,
        direction: Direction | None = None,
    ) -> None:
        """Link two memories, each by its id or as it was added.

        Raises:
            AgentError: M756 one of them is not in this network.
        """
        for end in (a, b):
            self._need(end)
        self.changes.connected.append(_NewLink(a, b, link_type, weight, direction))

    def disconnect(self, a: str, b: str, link_type: str) -> None:
        """Remove a link of two memories.

        Raises:
            AgentError: M756 one of them is not in this network.
        """
        for end in (a, b):
            self._need(end)
        self.changes.disconnected.append((a, b, link_type))
        self.links = [
            link for link in self.links if link.type != link_type or {link.a, link.b} != {a, b}
        ]

    def remove(self, memory: str) -> None:
        """Retract a memory.

        Raises:
            AgentError: M756 it is not in this network.
        """
        self._need(memory)
        self.changes.removed.append(memory)
        del self.memories[memory]
        self.links = [link for link in self.links if memory not in (link.a, link.b)]

    def _need(self, end: str | Prepared) -> None:
        there = (
            end in self.memories
            if isinstance(end, str)
            else any(end is p for p in self.changes.added)
        )
        if not there:
            raise AgentError(
                "M756",
                "a memory is not in this network",
                where="network",
                fix="load it again, or add the memory first",
            )


@dataclass(frozen=True, slots=True)
class Persisted:
    """What `persist` wrote: memories that were added, counts of links, ids that were retracted."""

    kept: Sequence[Kept]
    connected: int
    disconnected: int
    removed: Sequence[str]


def load(session: Session, user_id: str) -> Network:
    """Return the current memories of a user's private space with their links; two statements.

    The transaction acts for this user then.

    Args:
        session: the caller's.
        user_id: their id.

    Raises:
        AgentError: M701 no user.
    """
    act_as(session, user=user_id)
    network = Network(user_id)
    _read(session, network)
    return network


def persist(session: Session, network: Network) -> Persisted:
    """Write what was changed in a network, and read it again; twice is as once.

    Args:
        session: the caller's, who commits. It acts for the user of the network.
        network: from `load`.

    Raises:
        AgentError: M700 the transaction acts for nobody; M756 it acts for another user; and as
            `remember`, `connect`, `disconnect` and `retract` do. The changes stay in the network
            then, to be persisted after a rollback.
    """
    if acting_of(session).user != network.user:
        raise AgentError(
            "M756",
            "the transaction acts for another user than the one whose network it is",
            where="network",
            fix="call act_as for the user that it was loaded for",
        )
    changes = network.changes
    added = list(changes.added)
    found = remember(session, added)
    kept = found if isinstance(found, list) else [found]
    ids = {id(one): made.id for one, made in zip(added, kept, strict=True)}
    removed = sum(disconnect(session, *pair) for pair in changes.disconnected)
    for new in changes.connected:
        one, other = (end if isinstance(end, str) else ids[id(end)] for end in (new.a, new.b))
        connect(session, one, other, new.type, new.weight, new.direction)
    if changes.removed:
        retract_many(session, changes.removed)
    done = Persisted(kept, len(changes.connected), removed, list(changes.removed))
    _read(session, network)
    network.changes = Changes()
    return done


def _read(session: Session, network: Network) -> None:
    private = acting_of(session).private
    rows = session.execute(
        select_nodes().where(memories.c.space_id == private, IS_CURRENT).order_by(memories.c.number)
    )
    by_number = {node.number: node for node in map(node_of, rows)}
    network.memories = {node.id: node for node in by_number.values()}
    found = session.execute(
        sa.select(links)
        .where(links.c.a_space_id == private, links.c.b_space_id == private)
        .order_by(links.c.a, links.c.b, links.c.type)
    )
    network.links = [
        Link(
            by_number[row.a].id,
            by_number[row.b].id,
            row.type,
            row.weight,
            _DIRECTIONS[row.direction],
            row.automatic,
        )
        for row in found
        if row.a in by_number and row.b in by_number
    ]
