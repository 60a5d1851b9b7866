"""Read what is in a database of memOS, whole: every value as text, and every part of the schema."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from memos_assets_tests.postgres.application.memos import NAMES, OTHERS

#: Table -> key -> column -> value as PostgreSQL writes it.
Content = Mapping[str, Mapping[str, Mapping[str, str | None]]]

_SCHEMA = (
    """
    select table_name, column_name, data_type, character_maximum_length, is_nullable, column_default
    from information_schema.columns where table_schema = 'public'
    order by table_name, ordinal_position
    """,
    "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1",
    """
    select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
    where connamespace = 'public'::regnamespace and contype in ('p', 'f', 'u', 'c') order by 1, 2
    """,
    """
    select proname, pg_get_functiondef(p.oid) from pg_proc p
    join pg_language l on l.oid = p.prolang
    where pronamespace = 'public'::regnamespace and l.lanname = 'plpgsql' order by 1
    """,
)


#: The path of memOS's own connections; ours has PostgreSQL's schema alone.
AS_MEMOS = "set local search_path = public"


def content(engine: sa.Engine, names: Iterable[str] = (*NAMES, *OTHERS)) -> Content:
    """Return every value of every row as text, by the table's first column."""
    found = {}
    with engine.connect() as conn:
        for name in names:
            columns = [c["name"] for c in sa.inspect(conn).get_columns(name, schema="public")]
            values = ", ".join(f"{column}::text" for column in columns)
            rows = conn.exec_driver_sql(f"select {values} from public.{name}").all()
            found[name] = {str(row[0]): dict(zip(columns, row, strict=True)) for row in rows}
    return found


def schema(engine: sa.Engine) -> list[list[tuple[object, ...]]]:
    """Return columns, indexes, constraints and functions of schema public."""
    with engine.connect() as conn:
        conn.exec_driver_sql(AS_MEMOS)
        return [[tuple(row) for row in conn.exec_driver_sql(question)] for question in _SCHEMA]


def execute(engine: sa.Engine, *statements: str) -> None:
    """Execute statements in one transaction."""
    with engine.begin() as conn:
        conn.exec_driver_sql(AS_MEMOS)
        for statement in statements:
            conn.exec_driver_sql(statement)


def rows(engine: sa.Engine, query: str) -> list[tuple[object, ...]]:
    """Return what a query finds."""
    with engine.connect() as conn:
        conn.exec_driver_sql(AS_MEMOS)
        return [tuple(row) for row in conn.exec_driver_sql(query)]
