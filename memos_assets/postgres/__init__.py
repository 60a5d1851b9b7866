"""The database: embedded server, engines, migrations, Dagster's storage."""
