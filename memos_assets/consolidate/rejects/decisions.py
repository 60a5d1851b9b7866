"""Decisions about rejects: a rule per source, table and reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.consolidate.decoding.reject_reasons import REJECT_REASONS
from memos_assets.consolidate.decoding.repair_rules import (
    RULES,
    Decisions,
    changeable_columns,
    fitting_rules,
)
from memos_assets.errors import UsageError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.tables import DROP
from memos_assets.postgres.upsert import upsert


@dataclass(frozen=True, slots=True)
class Concerned:
    """Rejects of one source that a decision is about.

    Attributes:
        source: name of the source.
        rows: rows that are in the rejects for the reason.
        untouchable: those among them in a column that names rows, which no rule changes.
    """

    source: str
    rows: int
    untouchable: int


def decisions_about(conn: sa.Connection, source: str) -> Decisions:
    """Return table -> reason -> rule, as decided for a source."""
    entry = tables.repairs.c
    found: dict[str, dict[str, str]] = {}
    for table, reason, rule in conn.execute(
        sa.select(entry.table_name, entry.reason, entry.rule).where(entry.source == source)
    ):
        found.setdefault(table, {})[reason] = rule
    return found


def table_named(catalog: Catalog, name: str) -> TableSpec:
    """Return the description of a target table, with or without its schema.

    Raises:
        UsageError: M540 when there is none of that name.
    """
    known = {spec.name: spec for spec in catalog.tables}
    spec = known.get(name.removeprefix(f"{catalog.schema}."))
    if spec is None:
        raise UsageError(
            "M540",
            f"no consolidated table; there are: {', '.join(sorted(known))}",
            where=name,
            fix="pass one of them; memos-assets rejects list names those with rejects",
        )
    return spec


def check_reason(reason: str) -> None:
    """Refuse an unknown reason.

    Raises:
        UsageError: M541.
    """
    if reason not in REJECT_REASONS:
        raise UsageError(
            "M541",
            f"not a reason of rejects; there are: {', '.join(sorted(REJECT_REASONS))}",
            where=reason,
            fix="pass one of them; docs/checklist.md says what they mean",
        )


def decide(
    conn: sa.Connection,
    spec: TableSpec,
    reason: str,
    rule: str,
    *,
    source: str | None,
    by: str,
    note: str | None = None,
    count: int | None = None,
) -> list[Concerned]:
    """Store a rule for the rejects of a reason; the next load of their chunks applies it.

    The decision keeps how many rows it is about: where a reason takes much of a table, V30 passes
    for no more than those.

    Args:
        conn: in a transaction.
        spec: the table.
        reason: of `REJECT_REASONS`.
        rule: of `RULES`, and one that fits the reason.
        source: whose rows; None for every source that has such rejects.
        by: who decides.
        note: why.
        count: how many rows that is, over the sources, as the caller knows it; None: all there are.

    Returns:
        The rejects that the rule concerns, by source.

    Raises:
        UsageError: M541 no such reason; M542 the rule does not fit; M543 there are no such rejects;
            M556 there are not ``count`` of them.
    """
    check_reason(reason)
    fitting = fitting_rules(spec, reason)
    if rule not in fitting:
        what = "does not fit" if rule in RULES else "is not a rule that fits"
        raise UsageError(
            "M542",
            f"{rule} {what} {reason} in {spec.qualified}",
            where="--rule",
            fix=f"pass one of {', '.join(fitting)}; a repair in the file needs no rule",
        )
    concerned = _concerned(conn, spec, reason, rule, source)
    if not concerned:
        raise UsageError(
            "M543",
            f"no row of {source or 'any source'} is in the rejects for {reason}",
            where=spec.qualified,
            fix="list the rejects: memos-assets rejects list --all",
        )
    check_count(count, sum(one.rows for one in concerned), f"{spec.qualified} {reason}")
    conn.execute(
        upsert(tables.repairs, "rule", "decided_by", "note", "decided_at", "rows"),
        [
            {
                "source": one.source,
                "table_name": spec.name,
                "reason": reason,
                "rule": rule,
                "decided_by": by,
                "note": note,
                "rows": one.rows,
            }
            for one in concerned
        ],
    )
    return concerned


def check_count(stated: int | None, found: int, where: str) -> None:
    """Refuse a decision about another count than there is.

    Raises:
        UsageError: M556.
    """
    if stated not in (None, found):
        raise UsageError(
            "M556",
            f"--count says {stated:,}, and it is {found:,} now",
            where=where,
            fix="look at them again: memos-assets rejects list; then pass the count that it shows",
        )


def withdraw(
    conn: sa.Connection, spec: TableSpec, reason: str, *, source: str | None
) -> Mapping[str, str]:
    """Take a decision back; loading the rows again opens them. Return source -> rule.

    Raises:
        UsageError: M541 no such reason; M544 nothing was decided about it.
    """
    check_reason(reason)
    entry = tables.repairs.c
    of_source = entry.source == source if source else sa.true()
    withdrawn: dict[str, str] = {
        row.source: row.rule
        for row in conn.execute(
            sa.delete(tables.repairs)
            .where(entry.table_name == spec.name, entry.reason == reason, of_source)
            .returning(entry.source, entry.rule)
        )
    }
    if not withdrawn:
        raise UsageError(
            "M544",
            f"nothing was decided about {reason}" + (f" of {source}" if source else ""),
            where=spec.qualified,
            fix="list the decisions: memos-assets rejects list --all",
        )
    return dict(sorted(withdrawn.items()))


def _concerned(
    conn: sa.Connection, spec: TableSpec, reason: str, rule: str, source: str | None
) -> list[Concerned]:
    entry, repair = tables.rejects.c, tables.repairs.c
    about = sa.select(entry.source, entry.detail).where(
        entry.target == tables.schema_in(conn, spec.schema),
        entry.table_name == spec.name,
        entry.reason == reason,
    )
    # A decision may be replaced, also when its rows are in the rejects for another reason by now.
    before = sa.select(repair.source).where(repair.table_name == spec.name, repair.reason == reason)
    rows = Counter(dict.fromkeys(conn.execute(before).scalars(), 0))
    untouchable: Counter[str] = Counter()
    changeable = {column.origin for column in changeable_columns(spec, reason)}
    for name, detail in conn.execute(about):
        rows[name] += 1
        if rule not in (DROP, "null_end") and detail.partition(": ")[0] not in changeable:
            untouchable[name] += 1
    return [
        Concerned(name, rows[name], untouchable[name])
        for name in sorted(rows)
        if source in (None, name)
    ]
