"""The embedded server: its programs, its cluster, the account that it runs as.

Nothing here knows a table. Any other server is reached through `postgres.engine` alone.
"""
