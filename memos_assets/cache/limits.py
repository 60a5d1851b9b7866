"""Upkeep in the background: what is past its life goes, and namespaces keep to their limits.

A lookup never deletes, and reading statistics neither. This does, on a connection of the owner of
the tables, in batches, so that no transaction is long.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.cache.namespaces import NAMESPACES, Namespace, namespace_of

#: Rows of one statement.
_BATCH: Final = 5_000
#: Days for which counts of hits and misses are kept.
_KEPT_DAYS: Final = 30
#: Labelled pairs of a namespace that are kept, the newest: those that are right only calibrate,
#: and those that are wrong are never served again.
_KEPT_RIGHT: Final = 20_000
_KEPT_WRONG: Final = 200_000


@dataclass(slots=True)
class Enforced:
    """What upkeep did.

    Attributes:
        expired: namespace -> entries that were past their life and its grace.
        evicted: namespace -> entries over its limits, the least recently used.
        leases: of holders that are dead.
        counts: rows of counts that were too old.
        pairs: labelled pairs beyond the newest ones of their namespace.
    """

    expired: dict[str, int] = field(default_factory=dict)
    evicted: dict[str, int] = field(default_factory=dict)
    leases: int = 0
    counts: int = 0
    pairs: int = 0


_EXPIRED: Final = sa.text(
    """
    with gone as (
        delete from agent.cache_entries where number in (
            select number from agent.cache_entries
            where stale_until <= pg_catalog.clock_timestamp()
                and (cast(:namespaces as text[]) is null or namespace = any(:namespaces))
            order by number limit :batch for update skip locked)
        returning namespace)
    select namespace, count(*) from gone group by 1 order by 1
    """
)
_SIZES: Final = sa.text(
    "select namespace, count(*) as rows, sum(bytes)::bigint as bytes "
    "from agent.cache_entries group by 1 order by 1"
)
#: The least recently used first, until what is left is within both limits.
_EVICT: Final = sa.text(
    """
    with ranked as (
        select e.number,
            row_number() over latest as place, sum(e.bytes) over latest as bytes
        from agent.cache_entries e left join agent.cache_uses u on u.entry = e.number
        where e.namespace = :namespace
        window latest as (
            order by greatest(u.used_at, e.stored_at) desc, e.number desc rows unbounded preceding)
    )
    delete from agent.cache_entries where number in (
        select e.number from agent.cache_entries e join ranked r on r.number = e.number
        where r.place > :rows or r.bytes > :bytes
        order by 1 for update of e skip locked)
    """
)
_LEASES: Final = sa.text(
    "delete from agent.cache_leases where expires_at <= pg_catalog.clock_timestamp() "
    "- interval '1 minute'"
)
_COUNTS: Final = sa.text(
    "delete from agent.cache_counts "
    f"where hour < pg_catalog.clock_timestamp() - interval '{_KEPT_DAYS} days'"
)
_PAIRS: Final = sa.text(
    """
    delete from agent.cache_pairs where number in (
        select number from (
            select number, wrong, row_number() over (
                partition by namespace, wrong order by number desc) as place
            from agent.cache_pairs) ranked
        where place > case when wrong then :wrong else :right end
        order by number limit :batch)
    """
)


def enforce_limits(
    conn: sa.Connection,
    namespaces: Mapping[str, Namespace] = NAMESPACES,
    *,
    pairs: tuple[int, int] = (_KEPT_RIGHT, _KEPT_WRONG),
) -> Enforced:
    """Delete what is past its life, and what is over the limits of its namespace.

    Commits after each batch.

    Args:
        conn: of the owner of the tables, who sees every entry; not in a transaction.
        namespaces: name -> limits; other namespaces have those of `Namespace`.
        pairs: labelled pairs of a namespace that are kept, right ones and wrong ones.
    """
    done = Enforced(expired=delete_expired(conn))
    for name, rows, size in conn.execute(_SIZES).all():
        limit = namespace_of(name, namespaces)
        if rows > limit.rows or size > limit.bytes:
            values = {"namespace": name, "rows": limit.rows, "bytes": limit.bytes}
            done.evicted[name] = conn.execute(_EVICT, values).rowcount
        # session-rule: S002 because upkeep commits each batch, so that no transaction is long
        conn.commit()
    done.leases = conn.execute(_LEASES).rowcount
    done.counts = conn.execute(_COUNTS).rowcount
    most = {"right": pairs[0], "wrong": pairs[1], "batch": _BATCH}
    done.pairs = conn.execute(_PAIRS, most).rowcount
    # session-rule: S002 because upkeep commits each batch, so that no transaction is long
    conn.commit()
    return done


def delete_expired(conn: sa.Connection, *namespaces: str) -> dict[str, int]:
    """Delete what is past its life and grace, and commit after each batch.

    Args:
        conn: whose entries are seen; not in a transaction.
        namespaces: whose; none: all.

    Returns:
        Namespace -> entries.
    """
    gone: dict[str, int] = {}
    while True:
        counted = delete_batch(conn, *namespaces)
        # session-rule: S002 because upkeep commits each batch, so that no transaction is long
        conn.commit()
        for namespace, count in counted.items():
            gone[namespace] = gone.get(namespace, 0) + count
        if sum(counted.values()) < _BATCH:
            return gone


def delete_batch(bind: Session | sa.Connection, *namespaces: str) -> dict[str, int]:
    """Delete at most some thousand entries that are past their life; the caller commits."""
    values = {"namespaces": list(namespaces) or None, "batch": _BATCH}
    return {row[0]: row[1] for row in bind.execute(_EXPIRED, values)}
