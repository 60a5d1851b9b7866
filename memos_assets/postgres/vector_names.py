"""Names of pgvector's types, functions, operators and operator classes, with their schema.

The search path of our connections has no schema but ``pg_catalog`` (see `channel`), and pgvector
may be in any: ``public``, or ``extensions`` where the database's provider decides. Statements name
its types and functions by `VectorName`, and each connection fills in the schema that it found. A
connection that is not ours looks along its own path.
"""

from typing import Any

import sqlalchemy as sa
from pgvector.sqlalchemy import HALFVEC, SPARSEVEC, VECTOR
from psycopg import sql
from psycopg.abc import AdaptContext
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.sql.operators import custom_op

from memos_assets.postgres.channel import channel_of

TYPES = frozenset({"vector", "halfvec", "sparsevec"})
_SQLALCHEMY_TYPES = (VECTOR, HALFVEC, SPARSEVEC)
_OPERATORS = frozenset({"<=>", "<#>", "<->", "<+>", "<~>"})
_FUNCTIONS = frozenset(
    {
        *("binary_quantize", "cosine_distance", "inner_product", "l1_distance", "l2_distance"),
        *("hamming_distance", "l2_norm", "l2_normalize", "subvector"),
        *("vector_dims", "vector_norm", "vector_send", "halfvec_send", "sparsevec_send"),
    }
)


class VectorName(sql.Composable):
    """A name of pgvector's in a statement, which the connection qualifies.

    Args:
        name: of a type, a function, an operator class; or an operator.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VectorName) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def within(self, schema: str | None) -> sql.SQL:
        """Return the name as it is written for a schema; None: without one."""
        if schema is None:
            return sql.SQL(self.name)
        quoted = sql.Identifier(schema).as_string()
        if self.name.isidentifier():
            return sql.SQL(f"{quoted}.{self.name}")
        return sql.SQL(f"operator({quoted}.{self.name})")

    def as_bytes(self, context: AdaptContext | None = None) -> bytes:
        """Return the name for a connection."""
        channel = channel_of(context.connection) if context is not None else None
        return self.within(channel.vector_schema if channel is not None else None).as_bytes(context)


def type_name(name: str) -> sql.Composable:
    """Return a type of columns for a statement, qualified where it is pgvector's."""
    return VectorName(name) if name in TYPES else sql.SQL(name)


def within(statement: sql.Composable, schema: str | None) -> sql.Composable:
    """Return a statement with pgvector's names written for a schema, on any connection."""
    if isinstance(statement, VectorName):
        return statement.within(schema)
    if isinstance(statement, sql.Composed):
        return sql.Composed([within(part, schema) for part in statement])
    return statement


def type_without_schema(conn: sa.Connection, spelling: str) -> str:
    """Return a type as ``format_type`` spells it, one of pgvector's without its schema."""
    channel = channel_of(conn.dialect)
    if channel is None or channel.vector_schema is None:
        return spelling
    plain = spelling.rpartition(".")[2]
    own = conn.dialect.identifier_preparer.quote(channel.vector_schema)
    is_pgvector = plain.partition("(")[0] in TYPES and spelling == f"{own}.{plain}"
    return plain if is_pgvector else spelling


def qualify(dialect: sa.Dialect) -> None:
    """Have SQLAlchemy write pgvector's names with the schema that the dialect's channel found."""
    assert isinstance(dialect, PGDialect)

    def qualified(name: str) -> str:
        channel = channel_of(dialect)
        schema = channel.vector_schema if channel is not None else None
        return VectorName(name).within(schema).as_string()

    class Statements(dialect.statement_compiler):  # type: ignore[misc, name-defined]
        """Operators and functions."""

        def visit_custom_op_binary(
            self, element: Any, operator: custom_op[Any], **options: Any
        ) -> str:
            text: str = super().visit_custom_op_binary(element, operator, **options)
            sign = operator.opstring
            if sign in _OPERATORS and (
                sign != "<->" or isinstance(element.left.type, _SQLALCHEMY_TYPES)
            ):
                return text.replace(f" {sign} ", f" {qualified(sign)} ", 1)
            return text

        def visit_function(self, func: Any, *arguments: Any, **options: Any) -> str:
            text: str = super().visit_function(func, *arguments, **options)
            if func.name in _FUNCTIONS and not func.packagenames:
                return text.replace(func.name, qualified(func.name), 1)
            return text

    class Types(type(dialect.type_compiler_instance)):  # type: ignore[misc]
        """Types of columns and casts."""

        def visit_user_defined(self, type_: Any, **options: Any) -> str:
            text: str = super().visit_user_defined(type_, **options)
            if not isinstance(type_, _SQLALCHEMY_TYPES):
                return text
            name, bracket, length = text.lower().partition("(")
            return qualified(name) + bracket + length

    dialect.statement_compiler = Statements
    dialect.type_compiler_instance = Types(dialect)


def recognise(dialect: sa.Dialect) -> None:
    """Have SQLAlchemy's inspection know pgvector's types as PostgreSQL spells them for us."""
    assert isinstance(dialect, PGDialect)
    channel = channel_of(dialect)
    if channel is not None and channel.vector_schema is not None:
        spelt = f"{dialect.identifier_preparer.quote(channel.vector_schema)}.{{}}".format
        types = {spelt(t.__name__.lower()): t for t in _SQLALCHEMY_TYPES}
        dialect.ischema_names = {**dialect.ischema_names, **types}
