"""From SQLite files to rows in PostgreSQL, exactly once, with a reason for each row that is not.

Whether it worked is decided in `proof`, by code of its own.
"""
