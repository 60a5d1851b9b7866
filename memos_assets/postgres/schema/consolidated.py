"""The consolidated tables of a catalog as SQLAlchemy metadata.

Alembic compares a database with those of `MEMOS`, whose history is under sql/migrations. The tables
of any other catalog are made by `create_tables`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.dialects import postgresql as pg

from memos_assets.catalog import Catalog, Column, TableSpec, VectorColumn
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.catalog.types import column_type
from memos_assets.postgres.schema.tables import new_metadata, schema_in


def _plain(column: Column) -> sa.Column[object]:
    return sa.Column(
        column.name,
        column_type(column.postgres_type).sqlalchemy(),
        nullable=column.nullable,
        comment=column.about or None,
    )


def _embedding(vector: VectorColumn) -> list[sa.Column[object] | sa.CheckConstraint]:
    stored = column_type(vector.stored).sqlalchemy()
    return [
        sa.Column(vector.name, stored, comment=vector.about or None),
        sa.Column(vector.dimension_name, sa.Integer()),
        sa.Column(vector.reason_name, sa.Text(), comment=f"Why {vector.name} is NULL."),
        sa.CheckConstraint(
            f"({vector.name} is null) = ({vector.reason_name} is not null)",
            name=f"{vector.name}_or_reason",
        ),
        sa.CheckConstraint(
            sa.or_(
                sa.column(vector.name).is_(None),
                sa.func.vector_dims(sa.column(vector.name)) == sa.column(vector.dimension_name),
            ),
            name=f"{vector.name}_has_{vector.dimension_name}",
        ),
    ]


def _search_text(spec: TableSpec) -> sa.Column[object]:
    """Return the generated column of words and codes; the first of several texts counts most."""
    parts = []
    for place, name in enumerate(spec.texts):
        # A tsvector holds 1 MB; the last text is the long one.
        most = 100_000 if name == spec.texts[-1] else 10_000
        text = name if spec.column(name).kind == "text" else f"({name})::text"
        part = f"memos.search_document({text}, {most})"
        if len(spec.texts) > 1:
            part = f"setweight({part}, '{'ABCD'[place]}')"
        parts.append(part)
    return sa.Column(
        SEARCH_TEXT,
        pg.TSVECTOR(),
        sa.Computed(" || ".join(parts), persisted=True),
        comment="Words and codes of: " + ", ".join(spec.texts) + ".",
    )


def _consolidated(spec: TableSpec, into: sa.MetaData) -> sa.Table:
    columns: list[sa.Column[object] | sa.CheckConstraint] = [
        sa.Column("source", sa.Text(), nullable=False)
    ]
    columns += [_plain(column) for column in spec.columns]
    if spec.mirrored:
        columns.append(sa.Column("reversed", sa.Boolean(), nullable=False))
    for vector in spec.vectors:
        columns += _embedding(vector)
    if spec.has_loose_links:
        columns.append(
            sa.Column(
                "missing", pg.ARRAY(sa.Text()), comment="Columns whose end is not in the file."
            )
        )
    columns += [
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("source_rowid", sa.BigInteger(), nullable=False),
    ]
    if spec.texts:
        columns.append(_search_text(spec))
    table = sa.Table(
        spec.name,
        into,
        *columns,
        sa.PrimaryKeyConstraint(*spec.primary_key),
        sa.Index(f"{spec.name}_chunk_idx", "source", "chunk", "source_rowid"),
        schema=spec.schema,
        comment=spec.about,
    )
    if spec.row_target is not None:
        sa.event.listen(table, "after_create", _keep_in_line(spec, spec.row_target))
    return table


def _keep_in_line(spec: TableSpec, row_target: int) -> Callable[..., None]:
    """Return what keeps embeddings within their rows, once the table is made."""

    def keep(_table: sa.Table, connection: sa.Connection, **_: object) -> None:
        place = sql.Identifier(schema_in(connection, spec.schema), spec.name)
        columns = [vector.name for vector in spec.vectors]
        connection.exec_driver_sql(stored_in_line(place, columns, row_target).as_string())

    return keep


def stored_in_line(place: sql.Identifier, columns: Sequence[str], row_target: int) -> sql.Composed:
    """Return the statement by which rows of a table, from now on, hold their embeddings.

    PostgreSQL moves a value out of its row into TOAST where the row is long. These columns are
    moved last, and rows may be long: up to ``row_target`` bytes.
    """
    changes = [
        sql.SQL("alter column {} set storage main").format(sql.Identifier(name)) for name in columns
    ]
    changes.append(sql.SQL("set (toast_tuple_target = {})").format(sql.Literal(row_target)))
    return sql.SQL("alter table {} {}").format(place, sql.SQL(", ").join(changes))


@lru_cache(maxsize=256)
def table_of(spec: TableSpec) -> sa.Table:
    """Return a consolidated table."""
    return _consolidated(spec, new_metadata())


@lru_cache(maxsize=16)
def tables_of(catalog: Catalog) -> sa.MetaData:
    """Return the consolidated tables of a catalog."""
    tables = new_metadata()
    for spec in catalog.tables:
        _consolidated(spec, tables)
    return tables


def create_tables(conn: sa.Connection, catalog: Catalog) -> None:
    """Create the schema of a catalog, as far as it is missing, and the tables that it lacks.

    The tables of `MEMOS` are made by the migrations, and so are the functions that generated
    columns call.

    Args:
        conn: in a transaction, on a database at this checkout's revision.
        catalog: whose tables.
    """
    schema = schema_in(conn, catalog.schema)
    conn.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    tables_of(catalog).create_all(conn)
