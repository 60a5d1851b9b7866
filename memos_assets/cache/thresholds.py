"""Thresholds in force and the labels they rest on, in their tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from memos_assets.cache.calibration import Calibration, LabelledPair, pairs_of, read_pairs
from memos_assets.postgres.schema.agent_cache import cache_pairs, cache_thresholds
from memos_assets.postgres.upsert import upsert
from memos_assets.settings import Settings

#: Most labels of callers that a calibration reads, the newest.
MOST_LABELS: Final = 50_000


@dataclass(frozen=True, slots=True)
class InForce:
    """A threshold that winners are compared with.

    Attributes:
        namespace: whose.
        model: that embeds.
        threshold: least cosine of a winner.
        budget: most false hits, as a share of different pairs.
        upper_bound: of false hits, when it was measured.
        pairs: that it rests on.
    """

    namespace: str
    model: str
    threshold: float
    budget: float
    upper_bound: float
    pairs: int


def in_force(conn: sa.Connection, model: str | None = None) -> list[InForce]:
    """Return the thresholds in force, by namespace; None: of all models."""
    c = cache_thresholds.c
    columns = (c.namespace, c.model, c.threshold, c.budget, c.upper_bound, c.pairs)
    asked = sa.select(*columns).order_by(c.namespace, c.model)
    if model is not None:
        asked = asked.where(c.model == model)
    return [InForce(*row) for row in conn.execute(asked)]


def put_in_force(conn: sa.Connection, calibrations: Sequence[Calibration]) -> int:
    """Put measured thresholds in force, in the caller's transaction; return how many.

    One that is not measured is not put in force: without a row, the strict default holds. A row
    that rests on labels which are gone is removed for that reason.
    """
    table = cache_thresholds
    measured = [one for one in calibrations if one.calibrated]
    for one in calibrations:
        if not one.calibrated:
            conn.execute(
                sa.delete(table).where(
                    table.c.namespace == one.namespace, table.c.model == one.model
                )
            )
    for one in measured:
        conn.execute(upsert(table), one.row())
    return len(measured)


def labelled(conn: sa.Connection, settings: Settings) -> list[LabelledPair]:
    """Return labelled pairs: of the file `MEMOS_CACHE_PAIRS`, of feedback, of shadow observations.

    Raises:
        AgentError: M795, see `calibration.read_pairs`.
    """
    c = cache_pairs.c
    found = [] if settings.cache_pairs is None else read_pairs(settings.cache_pairs)
    rows = conn.execute(
        sa.select(c.namespace, c.asked, c.matched, c.wrong, c.origin)
        .where(c.asked != c.matched)
        .order_by(c.number.desc())
        .limit(MOST_LABELS)
    ).mappings()
    by_origin: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_origin.setdefault(row["origin"], []).append(dict(row))
    for origin, said in sorted(by_origin.items()):
        found += pairs_of(said, origin)
    return found
