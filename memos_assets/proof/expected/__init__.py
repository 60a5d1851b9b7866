"""The values that PostgreSQL must have, computed from the stored SQLite values alone.

It never imports `consolidate.decoding`: with one function on both sides, a mistake would not show.
"""
