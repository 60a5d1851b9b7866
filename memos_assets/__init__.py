"""memOS's SQLite stores in one PostgreSQL + pgvector database, as Dagster assets."""

__version__ = "0.2.0"
