"""The health of the network: how many links memories have, how many have none, what is connected.

Counts of every space together, as the owner of the tables sees them; no text and no user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from memos_assets.postgres.schema.agent import links, memories

#: Most automatic links of a memory.
CAP: Final = 10
#: Groups of degrees: their least one, and their name.
_BANDS: Final = ((0, "none"), (1, "1"), (2, "2 to 3"), (4, "4 to 6"), (7, "7 to 10"), (11, "more"))

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GraphHealth:
    """Of the memories that are believed, and the links between them.

    Attributes:
        memories: how many.
        links: by type.
        degrees: name of a band -> memories with so many linked memories.
        highest: most linked memories of one.
        isolated: memories without any.
        components: connected groups of two and more memories.
        largest: memories of the largest of them.
        mean_degree: linked memories of a memory, on average.
    """

    memories: int
    links: Mapping[str, int]
    degrees: Mapping[str, int]
    highest: int
    isolated: int
    components: int
    largest: int
    mean_degree: float

    @property
    def isolated_share(self) -> float:
        """Return the share of the memories without a link; 0 where there are no memories."""
        return self.isolated / self.memories if self.memories else 0.0


def graph_health(conn: sa.Connection) -> GraphHealth:
    """Read the links and count; 24 bytes of memory for each pair.

    Args:
        conn: as the owner of the tables, who sees every row.
    """
    believed = sa.and_(memories.c.retracted_at.is_(None), memories.c.superseded_by.is_(None))
    a, b = memories.alias("memory_a"), memories.alias("memory_b")
    between = links.join(a, a.c.number == links.c.a).join(b, b.c.number == links.c.b)
    current = sa.and_(
        *(one.c.retracted_at.is_(None) & one.c.superseded_by.is_(None) for one in (a, b))
    )
    count = conn.execute(sa.select(sa.func.count()).select_from(memories).where(believed))
    total = count.scalar_one()
    by_type = conn.execute(
        sa.select(links.c.type, sa.func.count())
        .select_from(between)
        .where(current)
        .group_by(links.c.type)
        .order_by(links.c.type)
    ).all()
    pairs = conn.execution_options(yield_per=50_000).execute(
        sa.select(links.c.a, links.c.b).distinct().select_from(between).where(current)
    )
    ends = [
        np.array(list(map(tuple, part)), dtype=np.int64).reshape(-1, 2)
        for part in pairs.partitions()
    ]
    edges = np.concatenate(ends) if ends else np.empty((0, 2), dtype=np.int64)
    return _health(total, dict(map(tuple, by_type)), edges)


def _health(total: int, by_type: Mapping[str, int], edges: Numbers) -> GraphHealth:
    nodes, places = np.unique(edges, return_inverse=True)
    degrees = np.bincount(places.reshape(-1), minlength=len(nodes))
    isolated = total - len(nodes)
    bands = dict.fromkeys((name for _, name in _BANDS), 0)
    bands["none"] = isolated
    lows = np.array([low for low, _ in _BANDS])
    for band in np.searchsorted(lows, degrees, side="right") - 1:
        bands[_BANDS[band][1]] += 1
    sizes = _component_sizes(len(nodes), places.reshape(-1, 2))
    return GraphHealth(
        memories=total,
        links=by_type,
        degrees=bands,
        highest=int(degrees.max(initial=0)),
        isolated=isolated,
        components=len(sizes),
        largest=max(sizes, default=0),
        mean_degree=float(degrees.sum() / total) if total else 0.0,
    )


def _component_sizes(nodes: int, edges: Numbers) -> Sequence[int]:
    """Return the sizes of the connected groups; labels spread until none changes."""
    labels = np.arange(nodes)
    while True:
        before = labels.copy()
        lowest = np.minimum(labels[edges[:, 0]], labels[edges[:, 1]])
        np.minimum.at(labels, edges[:, 0], lowest)
        np.minimum.at(labels, edges[:, 1], lowest)
        # Halve the way to the lowest label, so that a long chain takes few rounds.
        labels = labels[labels]
        if np.array_equal(labels, before):
            break
    sizes: list[int] = np.unique(labels, return_counts=True)[1].tolist() if nodes else []
    return sizes
