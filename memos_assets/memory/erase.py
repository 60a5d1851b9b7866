"""Erase a user: their rows, what hangs on them, and their texts wherever we keep a copy.

In one transaction, in the order of keys, so that two erasures and a writer wait for each other
instead of failing. Memories of others that were derived from the user's are retracted: they stay
with their owners as wrong. A tombstone in ``agent.erasures`` keeps a digest of the id and counts,
and until the search after the commit found nothing, the texts to look for, sealed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.memory import canary
from memos_assets.memory.beliefs import close_embeddings
from memos_assets.memory.belongings import Belongings, Part, find_belongings, nothing_found
from memos_assets.memory.canary import Searched
from memos_assets.memory.forks_of_user import find_forks
from memos_assets.memory.sealed_sample import seal, unseal
from memos_assets.postgres import advisory_locks, schemas
from memos_assets.postgres.connection import driver_of
from memos_assets.postgres.schema import agent
from memos_assets.postgres.user_rows import BY_USER, ERASED, MENTIONS, Mention, user_digest

#: How a preview names an erasure whose search did not come to its end.
UNFINISHED: Final = "erasure that is not finished"
_BATCH: Final = 1_000
_SAMPLE: Final = 20
#: Memories of schema `agent`, and of memOS's table, whose ids and digests are looked for, too.
_ENDS: Final = 5
#: Rows that others may be locking are locked by their keys first.
_LOCK = (
    "select 1 from agent.memories where number = any(%(numbers)s::bigint[]) "
    "order by number for update"
)


@dataclass(frozen=True, slots=True)
class Erasure:
    """What was erased.

    Attributes:
        number: of its tombstone.
        counts: place -> rows or files.
        texts: of the user, that are looked for afterwards; never written anywhere.
        searched: the search that followed.
    """

    number: int
    counts: dict[str, int]
    texts: tuple[str, ...]
    searched: Searched | None = None


def preview(conn: sa.Connection, user: str) -> dict[str, int]:
    """Count what an erasure would delete: table -> rows; and what is left of a former one.

    Raises:
        AgentError: M770.
    """
    counts = find_belongings(conn, user).count(conn)
    return counts | ({UNFINISHED: 1} if _unfinished(conn, user) else {})


def erase_rows(
    conn: sa.Connection, user: str, *, erased_by: str, elsewhere: bool = False
) -> Erasure:
    """Delete what belongs to a user, in the caller's transaction, and leave a tombstone.

    An erasure that was interrupted before its search found nothing goes on: where no row is left,
    the tombstone is its own.

    Args:
        conn: in a transaction, as the owner of the tables.
        user: their id.
        erased_by: who runs the command.
        elsewhere: a snapshot or a fork has rows of the user, so that there is a tombstone in any
            case.

    Raises:
        AgentError: M770 rows are hidden; M771 nothing belongs to the user.
    """
    advisory_locks.WORD_COUNTS.wait(conn)
    found = find_belongings(conn, user)
    before = found.count(conn)
    former = _unfinished(conn, user)
    if not before and former is not None:
        return former
    if not before and not elsewhere:
        raise nothing_found(user)
    texts = tuple(dict.fromkeys(_sample(conn, found) + (former.texts if former else ())))
    _analyze(conn, found)
    driver = driver_of(conn)
    driver.execute(_LOCK, found.values)
    counts: dict[str, int] = {}
    counts |= _leave_others(conn, found)
    for part in found.parts:
        deleted = _delete(conn, found, part)
        if deleted:
            counts[part.qualified] = counts.get(part.qualified, 0) + deleted
    number = conn.execute(
        agent.erasures.insert()
        .values(
            user_digest=user_digest(user),
            erased_by=erased_by,
            counts=counts,
            sample=seal(user, texts),
        )
        .returning(agent.erasures.c.number)
    ).scalar_one()
    return Erasure(number, counts, texts)


def _unfinished(conn: sa.Connection, user: str) -> Erasure | None:
    """Return the last erasure of a user whose texts nobody has finished to look for."""
    table = agent.erasures
    rows = conn.execute(
        sa.select(table.c.number, table.c.counts, table.c.sample)
        .where(table.c.user_digest == user_digest(user), table.c.sample.is_not(None))
        .order_by(table.c.number)
    ).all()
    if not rows:
        return None
    texts = [text for row in rows for text in unseal(user, row.sample) or (user,)]
    return Erasure(rows[-1].number, rows[-1].counts, tuple(dict.fromkeys(texts)))


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is kept of an erased user.

    Attributes:
        number: of the erasure.
        digest: sha256 of the user's id.
        at: when they were erased, with a time zone.
        by: who ran the command.
        is_finished: their texts were looked for and found nowhere.
    """

    number: int
    digest: str
    at: datetime
    by: str
    is_finished: bool


def tombstones(conn: sa.Connection) -> list[Tombstone]:
    """Return all tombstones, the oldest first."""
    c = agent.erasures.c
    columns = (c.number, c.user_digest, c.erased_at, c.erased_by, c.sample.is_(None))
    return [Tombstone(*row) for row in conn.execute(sa.select(*columns).order_by(c.number))]


def finish(conn: sa.Connection, user: str) -> None:
    """Forget the texts to look for, in the caller's transaction: they were found nowhere."""
    table = agent.erasures
    mine = sa.and_(table.c.user_digest == user_digest(user), table.c.sample.is_not(None))
    conn.execute(table.update().where(mine).values(sample=None))


def count_beside(conn: sa.Connection, erasure: Erasure, places: Mapping[str, int]) -> Erasure:
    """Add what was deleted beside the user's rows to an erasure and to its tombstone.

    A count that is there already is added to: an erasure may be interrupted and go on.

    Args:
        conn: in the caller's transaction.
        erasure: from `erase_rows`.
        places: place -> rows or files; those without any are left out.
    """
    counts = dict(erasure.counts)
    for place, count in places.items():
        if count:
            counts[place] = counts.get(place, 0) + count
    table = agent.erasures
    conn.execute(table.update().where(table.c.number == erasure.number).values(counts=counts))
    return replace(erasure, counts=counts)


def prove(engine: sa.Engine, erasure: Erasure, places: canary.Places, user: str) -> Erasure:
    """Search everything for the user's texts; take them out of rejects, Dagster's tables and logs.

    Args:
        engine: of the database, after the erasure was committed.
        erasure: from `erase_rows`.
        places: that are searched beside the database.
        user: their id, however short it is, is looked for in forks.

    Returns:
        The erasure with what was changed beside the user's rows, and with the last search.
    """
    searched = _searched(engine, erasure, places, user)
    if not searched.found:
        return replace(erasure, searched=searched)
    changed = canary.overwrite(searched.found, erasure.texts)
    with engine.begin() as conn:
        beside = _scrub(conn, erasure.texts, searched)
        beside["files of ours, overwritten"] = len(changed)
        erasure = count_beside(conn, erasure, beside)
    return replace(erasure, searched=_searched(engine, erasure, places, user))


def _searched(
    engine: sa.Engine, erasure: Erasure, places: canary.Places, user: str
) -> canary.Searched:
    with engine.connect() as conn:
        searched = canary.search(conn, places, erasure.texts)
        for schema, rows in find_forks(conn, user).items():
            searched.found[f"fork {schema}"] = rows
    return searched


def _analyze(conn: sa.Connection, found: Belongings) -> None:
    """Let PostgreSQL plan the foreign keys of many rows by what is in the tables.

    Without statistics it looks for the words of each memory by their space: 10,000 memories took
    43 s to delete, and 3 s with them.
    """
    if len(found.numbers) < _BATCH:
        return
    for part in found.parts:
        if part.schema == agent.AGENT_SCHEMA:
            driver_of(conn).execute(sql.SQL("analyze {}").format(part.identifier))


def _sample(conn: sa.Connection, found: Belongings) -> tuple[str, ...]:
    """Return texts that are the user's alone: their id, and some of what they said."""
    driver = driver_of(conn)
    contents = driver.execute(
        "select m.content, m.content_digest, m.id::text from agent.memories m "
        "where m.number = any(%(numbers)s::bigint[]) and length(m.content) >= %(shortest)s "
        "and not exists (select from agent.memories o where o.content_digest = m.content_digest "
        "and o.number <> all(%(numbers)s::bigint[])) "
        "order by md5(m.content) limit %(sample)s",
        {
            "numbers": _spread(found.numbers),
            "shortest": canary.SHORTEST,
            "sample": _SAMPLE,
        },
    ).fetchall()
    if _exists(conn, "public.memories"):
        contents += driver.execute(
            "select coalesce(content_summary, ''), content_hash, id::text from public.memories "
            "where user_id = %s order by length(content_summary) >= %s desc nulls last, id "
            "limit %s",
            (found.user, canary.SHORTEST, _SAMPLE),
        ).fetchall()
    said = [row[0] for row in contents]
    ends = [*contents[:_ENDS], *contents[-_ENDS:]]
    ids, digests = [row[2] for row in ends], [row[1] for row in ends]
    return tuple(dict.fromkeys([found.user, *ids, *digests, *said]))


def _spread(numbers: Sequence[int]) -> list[int]:
    """Return up to a thousand numbers, evenly spread: others' equal texts are looked up by each."""
    step = max(1, len(numbers) // _BATCH)
    return list(numbers[::step])


def _exists(conn: sa.Connection, name: str) -> bool:
    return conn.execute(sa.select(sa.func.to_regclass(name))).scalar_one() is not None


#: Memories of others that were derived from the user's, through any number of steps.
_DERIVED = """
with recursive derived (number) as (
    select p.memory from agent.provenance p where p.derived_from = any(%(numbers)s::bigint[])
    union
    select p.memory from agent.provenance p join derived d on p.derived_from = d.number
)
select m.number from agent.memories m join derived d on d.number = m.number
where m.number <> all(%(numbers)s::bigint[]) and m.retracted_at is null order by 1 for update of m
"""
_HEIR = """coalesce((select min(o.user_id) from agent.grants o where o.space_id = {space}
    and o.access = 'read_write' and o.user_id <> %(user)s), %(erased)s)"""
#: Rows of others that name an heir of a space in the user's place.
_TO_HEIRS: Final[dict[str, str]] = {
    "agent.grants by an erased user": f"""
        update agent.grants g set granted_by = {_HEIR.format(space="g.space_id")}
        where g.granted_by = %(user)s and g.user_id <> %(user)s""",
    # A space that others may write goes to one of them; nobody grants on one that none may write.
    "agent.spaces of others now": f"""
        update agent.spaces s set owner = {_HEIR.format(space="s.id")}
        where s.owner = %(user)s and not s.private and (
            exists (select from agent.grants o where o.space_id = s.id and o.user_id <> %(user)s)
            or exists (select from agent.memories m where m.space_id = s.id
                and m.number <> all(%(numbers)s::bigint[])))""",
}
_NAMED: Final = {
    "user": "= %(user)s",
    "source": "= %(source)s",
    "memory": "in (select id from agent.memories where number = any(%(numbers)s::bigint[]))",
}


def _unmention(mention: Mention) -> str:
    """Return the statement by which rows of others stop to name a user or a memory of theirs."""
    stays = (
        "space_id <> all(%(spaces)s::bigint[])"
        if mention.key is None
        else f"{mention.key} <> all(%(numbers)s::bigint[])"
    )
    new = {mention.column: mention.becomes, **mention.beside}
    assigned = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Literal(value))
        for column, value in new.items()
    )
    return (
        f"update agent.{mention.table} set {assigned.as_string()} where {mention.column} "
        f"{_NAMED[mention.names]} and {stays}"
    )


def _leave_others(conn: sa.Connection, found: Belongings) -> dict[str, int]:
    """Take the user out of rows of others, and retract what was derived from theirs."""
    driver, counts = driver_of(conn), {}
    values = found.values | {"erased": ERASED, "source": f"{BY_USER}{found.user}"}
    derived = [row[0] for row in driver.execute(_DERIVED, values).fetchall()]
    if derived:
        _retract(conn, derived)
        counts["agent.memories of others, retracted"] = len(derived)
    statements = [(m.place, _unmention(m)) for m in MENTIONS if m.becomes is not None]
    for place, statement in [*statements, *_TO_HEIRS.items()]:
        changed = driver.execute(statement.encode(), values).rowcount
        if changed:
            counts[place] = counts.get(place, 0) + changed
    _correct_word_counts(conn, found)
    return counts


def _retract(conn: sa.Connection, numbers: Sequence[int]) -> None:
    driver, values = driver_of(conn), {"numbers": list(numbers), "by": ERASED}
    driver.execute(
        "update agent.memories set retracted_at = now() where number = any(%(numbers)s::bigint[])",
        values,
    )
    driver.execute(
        "insert into agent.revisions (memory, space_id, action, valid_from, valid_until, "
        "retracted, superseded_by, user_id, reason) "
        "select number, space_id, 'retract', valid_from, valid_until, true, superseded_by, "
        "%(by)s, 'what it was derived from was erased' from agent.memories "
        "where number = any(%(numbers)s::bigint[]) order by number",
        values,
    )
    close_embeddings(conn, numbers)


def _correct_word_counts(conn: sa.Connection, found: Belongings) -> None:
    """Take the user's memories off the counts of shared spaces."""
    driver_of(conn).execute(
        "insert into agent.word_counts (space_id, memories, words) "
        "select m.space_id, -count(*), -sum(m.words) from agent.memories m "
        "where m.number = any(%(numbers)s::bigint[]) and m.space_id <> all(%(spaces)s::bigint[]) "
        "group by 1 order by 1",
        found.values,
    )


def _delete(conn: sa.Connection, found: Belongings, part: Part) -> int:
    """Delete the user's rows of one table; what names a memory goes batch by batch."""
    driver = driver_of(conn)
    statement = sql.SQL("delete from {} where ").format(part.identifier) + sql.SQL(part.condition)
    if "numbers" not in part.condition:
        return driver.execute(statement, found.values).rowcount
    deleted = 0
    for start in range(0, len(found.numbers), _BATCH):
        batch: dict[str, Any] = {"numbers": list(found.numbers[start : start + _BATCH])}
        deleted += driver.execute(statement, found.values | batch).rowcount
    return deleted


def _scrub(conn: sa.Connection, texts: Sequence[str], searched: Searched) -> dict[str, int]:
    """Delete rejects that hold a text of the user, and overwrite it in Dagster's own tables."""
    driver, counts = driver_of(conn), {}
    spelt = [one for many in canary.needles(texts).values() for one in many]
    rejects = f"{schemas.OPS.name}.rejects"
    if rejects in searched.found:
        deleted = driver.execute(
            "delete from memos_ops.rejects r where exists (select from unnest(%s::bytea[]) s "
            "where position(s in r.row) > 0 or position(s in convert_to(r.key, 'UTF8')) > 0 "
            "or position(s in convert_to(r.detail, 'UTF8')) > 0)",
            (spelt,),
        ).rowcount
        counts[rejects] = deleted
    for table, column in conn.execute(_DAGSTER, {"schema": schemas.DAGSTER.name}).all():
        place = f"{schemas.DAGSTER.name}.{table}"
        if place not in searched.found:
            continue
        statement = sql.SQL(
            "update {table} set {column} = replace({column}, %(said)s, %(mask)s) "
            "where position(%(said)s in {column}) > 0"
        ).format(table=sql.Identifier(schemas.DAGSTER.name, table), column=sql.Identifier(column))
        for one in sorted({one.decode() for one in spelt}, key=len, reverse=True):
            changed = driver.execute(statement, {"said": one, "mask": "*" * len(one)}).rowcount
            if changed:
                counts[place] = counts.get(place, 0) + changed
    return counts


_DAGSTER = sa.text(
    "select c.relname, a.attname::text from pg_catalog.pg_class c "
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace "
    "join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 "
    "and not a.attisdropped and a.atttypid in ('text'::regtype, 'varchar'::regtype) "
    "where n.nspname = :schema and c.relkind = 'r' order by 1, 2"
)
