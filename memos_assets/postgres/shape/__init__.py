"""The shape of tables and functions as PostgreSQL spells it, and as a description would make it.

Nothing here knows which tables or functions there must be. Texts are compared, never OIDs, which
are others in a restored database.
"""
