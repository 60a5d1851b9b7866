"""Rows by name: what a consumer gets that asks for no rows."""

from dataclasses import dataclass

from psycopg import sql

from memos_assets.catalog import ApplicationTable, TableSpec
from memos_assets.postgres.copy.arrow_schema import table_schema


@dataclass(frozen=True, slots=True)
class TableReference:
    """Names rows instead of carrying them: a table and, if partitioned, the chunks of each source.

    A table of the application has no chunks.
    ``chunks`` is None when all rows are meant, and empty when none are.
    """

    spec: TableSpec | ApplicationTable
    chunks: tuple[tuple[str, tuple[int, ...]], ...] | None = None

    @property
    def table(self) -> str:
        """Name of the table."""
        return self.spec.name

    @property
    def qualified(self) -> str:
        """Schema-qualified name of the table."""
        return self.spec.qualified

    def query(self, schema: str | None = None) -> sql.Composed:
        """Return the query for these rows, with the columns of `arrow_schema.table_schema`.

        Args:
            schema: that holds another version of the table; None: its own.
        """
        base = sql.SQL("select {} from {}").format(
            sql.SQL(", ").join(map(sql.Identifier, table_schema(self.spec).names)),
            sql.Identifier(schema or self.spec.schema, self.table),
        )
        if self.chunks is None:
            return base
        if not self.chunks:
            return sql.SQL("{} where false").format(base)
        parts = [
            sql.SQL("(source = {} and chunk = any({}))").format(
                sql.Literal(source), sql.Literal(list(numbers))
            )
            for source, numbers in self.chunks
        ]
        return sql.SQL("{} where {}").format(base, sql.SQL(" or ").join(parts))
