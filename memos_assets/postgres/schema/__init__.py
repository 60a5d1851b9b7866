"""Tables of ours as SQLAlchemy metadata, and which schema they are in.

What a value becomes on the way is in `copy`; the history of the schema is in sql/migrations.
"""
