"""Checks of the semantic network: nothing dangles, caps hold, lineages end."""

from collections.abc import Iterator

import sqlalchemy as sa

from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.memory.check_subjects import memories_asset
from memos_assets.memory.links import MOST_LINKS
from memos_assets.memory.models import registered
from memos_assets.postgres.schema import agent
from memos_assets.postgres.user_rows import ERASED_MEMORY

#: Numbers of memories that the evidence names.
_SHOWN = 10


def _references(conn: sa.Connection) -> Iterator[tuple[str, str, str | None]]:
    """Yield table, column and column of the space of every reference to a memory."""
    for table in agent.metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            if key.referred_table is agent.memories:
                names = key.column_keys
                yield table.fullname, names[0], names[1] if len(names) > 1 else None
    for model in registered(conn):
        yield model.table_name, "memory", "space_id"


def nothing_dangles(conn: sa.Connection, _asset: str) -> Finding:
    """V35: every reference is to a memory, in the space it says, and to nobody else's private one.

    Foreign keys hold that, too, while nobody switches them off (a restore, a replica).
    """
    faults: dict[str, list[int]] = {}

    def read(what: str, query: str) -> None:
        found = conn.execute(sa.text(f"{query} order by 1 limit {_SHOWN}")).scalars().all()
        if found:
            faults[what] = list(found)

    for table, column, space in sorted(_references(conn)):
        elsewhere = f" and m.space_id = t.{space}" if space else ""
        read(
            f"{table}.{column}",
            f"select distinct t.{column} from {table} t where not exists "
            f"(select from agent.memories m where m.number = t.{column}{elsewhere})",
        )
    read(
        "agent.memories.superseded_by",
        "select t.number from agent.memories t where t.superseded_by is not null "
        f"and t.superseded_by <> '{ERASED_MEMORY}' and not exists "
        "(select from agent.memories m where m.id = t.superseded_by and m.space_id = t.space_id)",
    )
    for what, one, other in (
        ("agent.links into another private space", "t.a_space_id", "t.b_space_id"),
        ("agent.provenance into another private space", "t.space_id", "d.space_id"),
    ):
        table = what.split()[0]
        joined = "join agent.memories d on d.number = t.derived_from " if "prov" in what else ""
        number = "t.memory" if joined else "t.a"
        read(
            what,
            f"select distinct {number} from {table} t {joined}join agent.spaces x on x.id = {one} "
            f"join agent.spaces y on y.id = {other} "
            "where x.private and y.private and x.owner <> y.owner",
        )
    return Finding(
        not faults,
        expected="every reference is to a memory of its space",
        observed="; ".join(f"{what}: {len(numbers)}" for what, numbers in faults.items())
        or "every reference is to a memory of its space",
        evidence={"references": len(list(_references(conn))), "memories": faults},
    )


def no_memory_has_too_many_links(conn: sa.Connection, _asset: str) -> Finding:
    """V36: automatic links of a memory, counted at both ends."""
    statement = sa.text(
        "select number, count(*) from (select a as number from agent.links where automatic "
        "union all select b from agent.links where automatic) ends "
        "group by number order by 2 desc, 1 limit :shown"
    )
    most = [(row[0], row[1]) for row in conn.execute(statement, {"shown": _SHOWN})]
    over = {number: count for number, count in most if count > MOST_LINKS}
    return Finding(
        not over,
        expected=f"at most {MOST_LINKS} automatic links of a memory",
        observed=f"at most {most[0][1] if most else 0}",
        evidence={"memories": {str(number): count for number, count in over.items()}},
    )


def lineages_have_no_cycle(conn: sa.Connection, _asset: str) -> Finding:
    """V38: no memory was derived from itself, through others or not.

    A cycle has an edge to a memory that was recorded later; only from these is a walk needed.
    """
    statement = sa.text(
        "with recursive lineage(start, number) as ("
        "select memory, derived_from from agent.provenance where derived_from >= memory union "
        "select l.start, p.derived_from from lineage l join agent.provenance p "
        "on p.memory = l.number where l.number <> l.start) "
        "select distinct start from lineage where number = start order by 1 limit :shown"
    )
    found = list(conn.execute(statement, {"shown": _SHOWN}).scalars())
    edges = conn.execute(sa.select(sa.func.count()).select_from(agent.provenance)).scalar_one()
    return Finding(
        not found,
        expected="no memory is derived from itself",
        observed=f"{len(found)} are" if found else "none is",
        evidence={"memories": found, "derivations": edges},
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=35,
        name="v35_no_reference_dangles",
        title="Every link, word, embedding, lineage and supersession is of a memory that is there, "
        "in the space that it says, and no link joins private spaces of two users.",
        fix="delete the rows that the evidence names; they belong to no memory",
        where="`memos/memories`",
        reads="every column of schema `agent` that refers to a memory, `agent.memories` and "
        "`agent.spaces`",
        when_failed="Rows refer to memories that are gone, or are in another space: foreign keys "
        "were switched off while rows were written, by a restore or a replica. Delete the rows "
        "that the evidence names.",
        subjects=memories_asset,
        judge=by_connection(nothing_dangles),
        group="memory",
    ),
    Check(
        number=36,
        name="v36_links_keep_their_cap",
        title=f"No memory has more than {MOST_LINKS} automatic links, counted at both ends.",
        fix="delete the weakest automatic links of the memories that the evidence names",
        where="`memos/memories`",
        reads="`agent.links`",
        when_failed="Something other than `link_new` wrote automatic links, or it ran with another "
        "isolation than `read committed`. Delete the weakest of them.",
        subjects=memories_asset,
        judge=by_connection(no_memory_has_too_many_links),
        group="memory",
    ),
    Check(
        number=38,
        name="v38_lineages_have_no_cycle",
        title="No memory was derived from itself, through others or not.",
        fix="delete the row of agent.provenance that closes the cycle",
        where="`memos/memories`",
        reads="`agent.provenance`",
        when_failed="A memory counts as its own evidence, and retracting a source may retract what "
        "led to it. Delete the row of `agent.provenance` that closes the cycle.",
        subjects=memories_asset,
        judge=by_connection(lineages_have_no_cycle),
        group="memory",
    ),
)
