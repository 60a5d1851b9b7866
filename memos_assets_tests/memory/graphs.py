"""Memories with embeddings that a test chooses, written as rows: the ground of tests of links."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import sqlalchemy as sa
from pgvector import HalfVector
from sqlalchemy.orm import Session

from memos_assets.memory.models import register
from memos_assets.postgres.schema.agent import grants, links, memories, spaces, word_counts

DIMENSION = 16
MODEL = "tests"
THRESHOLD = 0.6


def add_model(
    session: Session,
    name: str = MODEL,
    *,
    dimension: int = DIMENSION,
    state: Literal["current", "next"] = "current",
) -> int:
    """Register a model whose embeddings tests choose."""
    made = register(
        session.connection(), name, dimension, "of tests", state, link_threshold=THRESHOLD
    )
    return made.id


def add_space(
    session: Session, name: str, owner: str, *, private: bool = False, access: str = "read_write"
) -> int:
    """Make a space with its owner's grant."""
    rows = {"name": name, "owner": owner, "private": private}
    space = session.execute(sa.insert(spaces).values(rows).returning(spaces.c.id)).scalar_one()
    row = {"space_id": space, "user_id": owner, "access": access, "granted_by": owner}
    session.execute(sa.insert(grants).values(row))
    return int(space)


def add_memories(
    session: Session, space: int, contents: Sequence[str], *, user: str = "u1", **columns: Any
) -> list[int]:
    """Write memories, and return their numbers in order."""
    rows = [
        {
            "id": uuid.uuid4(),
            "space_id": space,
            "user_id": user,
            "kind": "finding",
            "content": content,
            "content_digest": uuid.uuid4().hex,
            "words": 1,
            "source": f"user:{user}",
            **columns,
        }
        for content in contents
    ]
    statement = sa.insert(memories).returning(memories.c.number, sort_by_parameter_order=True)
    numbers = list(session.execute(statement, rows).scalars())
    counted = {"space_id": space, "memories": len(rows), "words": len(rows)}
    session.execute(sa.insert(word_counts).values(counted))
    return numbers


def add_embeddings(
    session: Session,
    model: int,
    space: int,
    embeddings: Mapping[int, Any] | Iterable[tuple[int, int, Any]],
    closed_at: Any = None,
) -> None:
    """Write embeddings: number -> one of part 0, or (number, part, one)."""
    parts = (
        [(number, 0, embedding) for number, embedding in embeddings.items()]
        if isinstance(embeddings, Mapping)
        else list(embeddings)
    )
    session.execute(
        sa.text(
            f"insert into agent.embeddings_{model} values "
            "(:memory, :part, :space, :closed, cast(:embedding as public.halfvec))"
        ),
        [
            {
                "memory": number,
                "part": part,
                "space": space,
                "closed": closed_at,
                "embedding": HalfVector(np.asarray(embedding)).to_text(),
            }
            for number, part, embedding in parts
        ],
    )


def links_of(session: Session) -> dict[tuple[int, int, str], float]:
    """Return (a, b, type) -> weight of every link."""
    columns = (links.c.a, links.c.b, links.c.type, links.c.weight)
    return {(a, b, kind): weight for a, b, kind, weight in session.execute(sa.select(*columns))}


def turned(degrees: float, plane: int = 0) -> np.ndarray[Any, Any]:
    """Return a direction in the plane of two elements, so that cosines are of angles."""
    direction = np.zeros(DIMENSION)
    direction[2 * plane] = np.cos(np.radians(degrees))
    direction[2 * plane + 1] = np.sin(np.radians(degrees))
    return direction


def id_of(session: Session, number: int) -> uuid.UUID:
    """Return the id of a memory."""
    found = sa.select(memories.c.id).where(memories.c.number == number)
    one: uuid.UUID = session.execute(found).scalar_one()
    return one


def number_of(session: Session, memory: str) -> int:
    """Return the number of a memory."""
    found = sa.select(memories.c.number).where(memories.c.id == uuid.UUID(memory))
    return int(session.execute(found).scalar_one())
