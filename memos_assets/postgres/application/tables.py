"""memOS's own tables as SQLAlchemy metadata, derived from the catalog."""

from typing import Any

import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.catalog.application import (
    APPLICATION_SCHEMA,
    ApplicationColumn,
    ApplicationIndex,
    ApplicationTable,
)
from memos_assets.catalog.types import column_type

#: Apart from our own: what we create here belongs to memOS, and is never dropped with its rows.
metadata = sa.MetaData(
    schema=APPLICATION_SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
    },
)


def _column(column: ApplicationColumn, spec: ApplicationTable) -> sa.Column[Any]:
    links = []
    if column.references is not None:
        target = f"{APPLICATION_SCHEMA}.{column.references}.id"
        links.append(sa.ForeignKey(target, ondelete="CASCADE" if column.cascade else None))
    return sa.Column(
        column.name,
        column_type(column.postgres_type).sqlalchemy(),
        *links,
        primary_key=column.name == spec.key,
        nullable=column.nullable,
        comment="UTC" if column.kind == "moment" else None,
    )


def _index(index: ApplicationIndex, table: sa.Table) -> sa.Index:
    columns = []
    for entry in index.columns:
        name, _, direction = entry.partition(" ")
        columns.append(table.c[name].desc() if direction else table.c[name])
    where = sa.text(index.where) if index.where else None
    return sa.Index(index.name, *columns, unique=index.unique, postgresql_where=where)


def _table(spec: ApplicationTable) -> sa.Table:
    table = sa.Table(spec.name, metadata, *(_column(column, spec) for column in spec.columns))
    for index in spec.indexes:
        _index(index, table)
    return table


APPLICATION: dict[str, sa.Table] = {spec.name: _table(spec) for spec in MEMOS.application_tables}
