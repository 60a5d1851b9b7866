"""V37: of the values of an attribute, one is current; rows are as their revisions say."""

import sqlalchemy as sa

from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.memory.moments import NOW

#: Memories named in evidence, by number: subjects and texts are their users'.
_MOST_NAMED = 10

_OVERLAPPING = f"""
    select array_agg(m.number order by m.number) from agent.memories m
    where m.subject is not null and m.attribute is not null and m.retracted_at is null
        and (m.valid_from is null or m.valid_from <= {NOW.as_string()})
        and (m.valid_until is null or m.valid_until > {NOW.as_string()})
    group by m.space_id, m.subject, m.attribute having count(*) > 1 order by min(m.number)
"""
_DIFFERING = """
    select m.number from agent.memories m left join lateral (
        select r.valid_from, r.valid_until, r.retracted, r.superseded_by from agent.revisions r
        where r.memory = m.number order by r.known_from desc, r.number desc limit 1
    ) r on true
    where r.retracted is null or (m.valid_from, m.valid_until, m.retracted_at is not null,
        m.superseded_by) is distinct from (r.valid_from, r.valid_until, r.retracted,
        r.superseded_by)
    order by m.number
"""
_ENDLESS = """
    with recursive chain as (
        select id as first, superseded_by as next from agent.memories
        where superseded_by is not null
        union
        select c.first, m.superseded_by from chain c join agent.memories m on m.id = c.next
        where m.superseded_by is not null
    )
    select m.number from chain c join agent.memories m on m.id = c.first
    where c.first = c.next order by m.number
"""


def one_value_is_current(conn: sa.Connection, _asset: str) -> Finding:
    """V37: no attribute of a subject has two current values; rows are as their last revisions.

    Args:
        conn: to the target database, as the owner of the tables, who sees all of them.
    """
    overlapping = conn.exec_driver_sql(_OVERLAPPING).scalars().all()
    differing = conn.exec_driver_sql(_DIFFERING).scalars().all()
    endless = conn.exec_driver_sql(_ENDLESS).scalars().all()
    values = conn.exec_driver_sql(
        "select count(distinct (space_id, subject, attribute)) from agent.memories "
        "where subject is not null and attribute is not null"
    ).scalar_one()
    faults = {
        "attributes with more than one current value": len(overlapping),
        "memories that differ from their last revision": len(differing),
        "memories that end themselves, through others": len(endless),
    }
    observed = ", ".join(f"{count} {name}" for name, count in faults.items() if count)
    return Finding(
        not observed,
        expected="one current value at most, as revisions say",
        observed=observed or "one current value at most, as revisions say",
        evidence={
            "attributes with values": values,
            **faults,
            "numbers of memories": [
                *(number for numbers in overlapping[:_MOST_NAMED] for number in numbers),
                *differing[:_MOST_NAMED],
                *endless[:_MOST_NAMED],
            ][:_MOST_NAMED],
        },
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=37,
        name="v37_one_value_is_current",
        title="Every attribute of a subject has one current value at most, every memory is as its "
        "last revision says, and none ends itself.",
        fix="retract or restore the memories that are named, by `Memory.history` of each",
        where="`memos/memories`",
        reads="`agent.memories` and `agent.revisions`",
        when_failed="A recall may show a value that another one ended. Somebody wrote the rows "
        "past `memos_assets.memory`: find the memories by their numbers, and let "
        "`set_validity`, `retract` or `restore` settle them again.",
        subjects=memories_asset,
        judge=by_connection(one_value_is_current),
        group="memory",
    ),
)
