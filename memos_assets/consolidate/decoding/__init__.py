"""What SQLite stores becomes what PostgreSQL holds, or a reject with its reason.

The proof has its own reading, on purpose, and never imports this one.
"""
