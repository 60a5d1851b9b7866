"""PostgreSQL: engines, schemas, COPY, migrations, backups, versions, and the embedded server.

Nothing here reads SQLite or knows how a value was decoded.
"""
