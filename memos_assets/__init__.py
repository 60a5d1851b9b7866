"""memOS's SQLite stores in one PostgreSQL + pgvector database, as Dagster assets."""
