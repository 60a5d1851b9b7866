"""From SQLite files to PostgreSQL rows, and the proof. Knows no Dagster."""
