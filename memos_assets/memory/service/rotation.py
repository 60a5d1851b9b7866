"""Which key each memory has, and all memories encrypted anew by the first key.

For the operator, who sees the rows of every user. Batches follow the ids of rows, each in a
transaction of its own, so the work may be stopped at any time and run again: what has the first
key is left alone. No key's work is done while rows are locked, and a memory that somebody changed
meanwhile is not overwritten.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from memos_assets.errors import AgentError
from memos_assets.memory.service.crypto import KeyRing
from memos_assets.memory.service.values import MEMORIES
from memos_assets.postgres.application.presence import absent_error
from memos_assets.postgres.owned_rows import OWNERS_POLICY
from memos_assets.progress import Progress, report

WHERE: Final = "public.memories"
#: Rows and bytes of content of a batch.
BATCH_ROWS: Final = 500
BATCH_BYTES: Final = 8_388_608
#: Ids of memories that no key decrypts, of which so many are named.
MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Token:
    """The encrypted content of a memory, and its digest by memOS."""

    memory: UUID
    encrypted: bytes = field(repr=False)
    content_hash: str = field(repr=False)


_BATCH = sa.text(
    """
    select id, encrypted_content, content_hash from (
        select id, encrypted_content, content_hash,
            sum(octet_length(encrypted_content)) over (order by id)
            - octet_length(encrypted_content) as before
        from (
            select id, encrypted_content, content_hash from public.memories
            where (cast(:after as uuid) is null or id > :after)
                and (cast(:last as uuid) is null or id <= :last)
            order by id limit :rows
        ) page
    ) sized
    where before < :bytes order by id
    """
)
_SEES_ALL = sa.text(
    """
    select not row_security_active('public.memories') or exists (
        select from pg_policy p, unnest(p.polroles) r
        where p.polrelid = 'public.memories'::regclass and p.polname = :policy
            and pg_has_role(r, 'USAGE')
    )
    """
)


@dataclass(slots=True)
class KeyCounts:
    """Memories by the key that decrypts them.

    Attributes:
        rows: that were read.
        by_key: place of a key, from 0 -> memories.
        empty: memories whose content is empty, which memOS stores without encryption.
        lost: ids of memories that no key decrypts; the first `MOST_NAMED`.
        lost_rows: how many those are.
        rotated: memories that were encrypted anew.
        changed: memories that somebody changed while their batch was computed; they are left.
    """

    rows: int = 0
    by_key: Counter[int] = field(default_factory=Counter)
    empty: int = 0
    lost: list[UUID] = field(default_factory=list)
    lost_rows: int = 0
    rotated: int = 0
    changed: int = 0

    @property
    def to_rotate(self) -> int:
        """Memories that a key other than the first one decrypts."""
        return sum(count for place, count in self.by_key.items() if place)

    def add(self, token: Token, keys: KeyRing) -> int | None:
        """Count a memory; return the place of its key, None where it has none."""
        self.rows += 1
        if not token.encrypted:
            self.empty += 1
            return None
        place = keys.key_of(token.encrypted)
        if place is None:
            self.lost_rows += 1
            self.lost += [token.memory] if len(self.lost) < MOST_NAMED else []
        else:
            self.by_key[place] += 1
        return place


def count_keys(engine: sa.Engine, keys: KeyRing, *, sample: int | None = None) -> KeyCounts:
    """Count the memories that each key decrypts.

    Args:
        engine: of the operator.
        keys: of the environment.
        sample: so many, from a random place in the order of ids; None: all.

    Raises:
        AgentError: M749 this role does not see the rows of all users.
        UsageError: M570 memOS's tables are not there.
    """
    with engine.connect() as conn:
        need_all_rows(conn)
    counts = KeyCounts()
    for token in tokens(engine) if sample is None else sampled(engine, sample):
        counts.add(token, keys)
    return counts


def rotate_keys(engine: sa.Engine, keys: KeyRing) -> KeyCounts:
    """Encrypt every memory by the first key that has another one; the time in a token stays.

    Args:
        engine: of the operator.
        keys: of the environment.

    Returns:
        The counts of before, with what was done.

    Raises:
        AgentError: M749 this role does not see the rows of all users.
        UsageError: M570 memOS's tables are not there.
    """
    with engine.connect() as conn:
        need_all_rows(conn)
        total = conn.execute(sa.select(sa.func.count()).select_from(MEMORIES)).scalar_one()
    report(Progress("encrypt", WHERE, total_rows=total))
    counts = KeyCounts()
    for batch in _batches(engine):
        others = [token for token in batch if counts.add(token, keys)]
        written = _write(engine, keys, others)
        counts.rotated += written
        counts.changed += len(others) - written
        report(Progress("encrypt", WHERE, rows=len(batch)))
    report(Progress("encrypt", WHERE, done=True))
    return counts


def tokens(engine: sa.Engine) -> Iterator[Token]:
    """Yield the content of every memory, in the order of ids."""
    for batch in _batches(engine):
        yield from batch


def sampled(engine: sa.Engine, rows: int) -> Iterator[Token]:
    """Yield memories from a random place on in the order of ids, which are random themselves."""
    start = uuid4()
    around = chain(_batches(engine, after=start), _batches(engine, last=start))
    yield from islice(chain.from_iterable(around), rows)


def need_all_rows(conn: sa.Connection) -> None:
    """Refuse a role from which row-level security hides memories; it would count none.

    Raises:
        AgentError: M749.
        UsageError: M570 memOS's tables are not there.
    """
    if conn.execute(sa.select(sa.func.to_regclass(WHERE))).scalar_one() is None:
        raise absent_error(WHERE)
    if not conn.execute(_SEES_ALL, {"policy": OWNERS_POLICY}).scalar_one():
        raise AgentError(
            "M749",
            "this role does not see the memories of all users",
            where=WHERE,
            fix="connect as the owner of memOS's tables (MEMOS_DATABASE_URL)",
        )


def _batches(
    engine: sa.Engine, *, after: UUID | None = None, last: UUID | None = None
) -> Iterator[list[Token]]:
    """Yield memories in the order of their ids; no transaction is open between two batches."""
    while True:
        known = {"after": after, "last": last, "rows": BATCH_ROWS, "bytes": BATCH_BYTES}
        with engine.connect() as conn:
            found = conn.execute(_BATCH, known)
            batch = [Token(row[0], bytes(row[1]), row[2]) for row in found]
        if not batch:
            return
        yield batch
        after = batch[-1].memory


def _write(engine: sa.Engine, keys: KeyRing, batch: list[Token]) -> int:
    """Replace tokens that are still what was read, in one transaction; return how many were."""
    if not batch:
        return 0
    m = MEMORIES.c
    statement = (
        sa.update(MEMORIES)
        .where(m.id == sa.bindparam("memory"), m.encrypted_content == sa.bindparam("before"))
        .values(encrypted_content=sa.bindparam("after"))
    )
    rotated = [
        {"memory": one.memory, "before": one.encrypted, "after": keys.rotate(one.encrypted)}
        for one in batch
    ]
    with engine.begin() as conn:
        return conn.execute(statement, rotated).rowcount
