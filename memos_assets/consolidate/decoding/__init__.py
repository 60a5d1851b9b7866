"""Decode SQLite values into PostgreSQL values, or into rejects with a reason.

The proof has its own reading, on purpose, and never imports this one.
"""
