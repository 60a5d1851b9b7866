"""V26: columns, constraints, indexes, triggers, rules, policies and owners are as described."""

from collections.abc import Collection, Iterator
from functools import partial

import sqlalchemy as sa

from memos_assets.catalog import Catalog, TableSpec
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import search_indexes
from memos_assets.postgres import schemas
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import schema_in
from memos_assets.postgres.shape.tables import (
    Shape,
    described_shapes,
    further_indexes,
    read_shapes,
    shape_faults,
    strange_owners,
)

#: Relations and functions of others in a schema of ours: nothing is wrong with them.
_OTHERS = sa.text(
    """
    select c.relname from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = :schema and c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relname <> all(:ours)
    order by 1 limit 20
    """
)
_MOST_NAMED = 10


def consolidated_shape(conn: sa.Connection, catalog: Catalog, spec: TableSpec) -> Finding:
    """V26: a consolidated table is as the catalog makes it; its search indexes are V06's.

    Args:
        conn: to the target database, or to a shadow of it.
        catalog: of the table.
        spec: the table.
    """
    schema = schema_in(conn, spec.schema)
    built = [index.name for index in search_indexes(spec.as_table)]
    ours = {schema, catalog.schema, schemas.OPS.name}
    return _compared(conn, schema, [table_of(spec)], built, ours, ordered=True)


def bookkeeping_shape(conn: sa.Connection, catalog: Catalog) -> Finding:
    """V26: the bookkeeping tables are as described. Revisions append columns: order is free.

    Args:
        conn: to the target database.
        catalog: of the application; its schema is looked through for what is not ours.
    """
    described = list(tables.metadata.tables.values())
    ours = {schema_in(conn, catalog.schema), catalog.schema, schemas.OPS.name}
    finding = _compared(conn, schemas.OPS.name, described, (), ours, ordered=False)
    named = [table.name for table in catalog.tables]
    found = conn.execute(
        _OTHERS, {"schema": schema_in(conn, catalog.schema), "ours": named}
    ).scalars()
    return Finding(
        finding.passed,
        finding.expected,
        finding.observed,
        {**finding.evidence, "of_others": list(found)},
    )


def _compared(
    conn: sa.Connection,
    schema: str,
    described: Collection[sa.Table],
    of_other_checks: Collection[str],
    ours: Collection[str],
    *,
    ordered: bool,
) -> Finding:
    expected = described_shapes(conn, described)
    names = sorted(expected)
    observed = read_shapes(conn, schema, names)
    owners = strange_owners(conn, schema, names, ours)
    faults: list[dict[str, str]] = []
    further: list[str] = []
    for name in names:
        found = observed.get(name)
        if found is None:
            faults.append({"table": name, "object": "table", "expected": "", "observed": "missing"})
            continue
        faults += [
            {
                "table": name,
                "object": fault.what,
                "expected": fault.expected or "none",
                "observed": fault.observed or "missing",
            }
            for fault in shape_faults(
                expected[name], found, of_others=of_other_checks, ordered=ordered
            )
        ]
        further += further_indexes(expected[name], found, of_other_checks)
        if name in owners:
            faults.append(
                {
                    "table": name,
                    "object": "owner",
                    "expected": "the owner of the other tables",
                    "observed": owners[name],
                }
            )
    parts = sum(len(shape.objects) for shape in expected.values())
    return Finding(
        not faults,
        expected=f"{_counted(expected)} as described, and nothing else",
        observed="; ".join(map(_line, faults[:3]))
        + (f"; {len(faults) - 3} more" if len(faults) > 3 else "")
        if faults
        else f"{parts} parts as described",
        evidence={
            "faults": [" ".join(filter(None, (f["table"], _line(f)))) for f in faults][
                :_MOST_NAMED
            ],
            "differences": faults[:_MOST_NAMED],
            "further_indexes": further,
        },
    )


def _counted(shapes: dict[str, Shape]) -> str:
    kinds = [kind for shape in shapes.values() for kind, _ in shape.objects]
    counted = ", ".join(
        f"{kinds.count(kind)} {plural}"
        for kind, plural in (
            ("column", "columns"),
            ("constraint", "constraints"),
            ("index", "indexes"),
        )
    )
    return f"{len(shapes)} tables with {counted}" if len(shapes) > 1 else counted


def _line(fault: dict[str, str]) -> str:
    if fault["observed"] == "missing":
        return f"{fault['object']} is missing"
    if fault["expected"] == "none":
        return f"{fault['object']} is not described: {fault['observed']}"
    return f"{fault['object']} is {fault['observed']}, not {fault['expected']}"


def _subjects(catalog: Catalog) -> Iterator[Subject[TableSpec | None]]:
    for kind in catalog.consolidated:
        for spec in kind.tables:
            yield Subject(catalog.names.table(spec.name), spec, f"{kind.name}_rows")
    yield Subject(catalog.names.live_version, None, "version_checks")


def _judge(context: CheckContext, spec: TableSpec | None) -> Finding:
    judge = bookkeeping_shape if spec is None else partial(consolidated_shape, spec=spec)
    with context.engine.connect() as conn:
        return judge(conn, context.catalog)


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=26,
        name="v26_shape_is_that_of_the_catalog",
        title="Columns, constraints, indexes, triggers, rules, policies and owners are those of "
        "the catalog, and nothing else is on a table.",
        fix="drop what is not described and put back what is named; consolidated tables are made "
        "anew by: memos-assets consolidate --swap",
        where="each consolidated table; the bookkeeping tables, on the live version",
        reads="PostgreSQL's catalogs, against the same tables as PostgreSQL makes them from the "
        "description: types with lengths, defaults, NOT NULL, generated columns, collations, "
        "constraints, indexes, triggers, rules, row security, persistence, inheritance, owners",
        when_failed="The object is named, as it is and as it is described. Drop what is not "
        "described, put back what is missing; or load tables of the described shape: "
        "`memos-assets consolidate --swap`. Further indexes that are not unique are listed, and "
        "nothing is wrong with them.",
        subjects=_subjects,
        judge=_judge,
    ),
)
