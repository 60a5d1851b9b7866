"""What agents know at one moment, as Parquet files with an identity: write, compare, restore.

A snapshot is a manifest and, for each table, a file of rows in the order of its key. Files are
named by the digest of their content, so that a table that did not change is a reference to the
former file. What a snapshot holds is decided in `coverage`, its form in `columns` and `manifest`,
its place in `store`.

Not here: Dagster (`defs`), the archive of retired SQLite files (`consolidate.archive`), versions of
consolidated tables (`postgres.versions`), and a user's export (`memory.export`).
"""
