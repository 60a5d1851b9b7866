"""SQLite files as files: opening, errors, locks, and rows as bytes.

Nothing here knows memOS, its tables or PostgreSQL.
"""
