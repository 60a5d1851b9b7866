"""Forget a source: its rows in the bookkeeping tables, and its loaded rows only on request."""

from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.half_moved import refuse_half_moved
from memos_assets.errors import UsageError
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of


def rows_of(conn: sa.Connection, source: registry.Source) -> dict[str, int]:
    """Return table -> rows of a source in PostgreSQL, reversed ones included."""
    consolidated = {spec.name: table_of(spec) for spec in source.kind.tables}
    counted = {
        name: count_rows(conn, table, table.c.source == source.name)
        for name, table in consolidated.items()
    }
    return {name: count for name, count in counted.items() if count}


def forget(
    engine: sa.Engine, catalog: Catalog, name: str, *, with_rows: bool = False
) -> dict[str, int]:
    """Remove a source from the bookkeeping tables in one transaction; return the deleted rows.

    Raises:
        UsageError: M526 no such source; M554 its rows are loaded; M555 it is retired.
        TargetError: M370 its file is half moved into the archive.
    """
    with engine.begin() as conn:
        source = registry.source_named(conn, catalog.kinds, name)
        refuse_half_moved(conn, name)
        if source.retired_to is not None and not is_purged(source.retired_to):
            raise UsageError(
                "M555",
                f"the source is retired, and its file is at {source.retired_to}",
                where=name,
                fix=f"put it back first: memos-assets restore-source {name}",
            )
        loaded = rows_of(conn, source)
        if loaded and not with_rows:
            raise UsageError(
                "M554",
                f"{sum(loaded.values()):,} rows of it are loaded ({', '.join(loaded)})",
                where=name,
                fix=f"delete them, too: memos-assets forget {name} --with-rows",
            )
        of_source = [
            *(tables.pins, tables.consolidation_pins, tables.accepted_counts, tables.repairs),
            *(tables.rejects, tables.accepted_losses, tables.acknowledgements),
        ]
        for target in _targets(conn, source):
            options = {"schema_translate_map": {catalog.schema: target}}
            for spec in source.kind.tables:
                table = table_of(spec)
                deletion = sa.delete(table).where(table.c.source == name)
                # Of this statement alone: on a connection the option would stay.
                conn.execute(deletion, execution_options=options)
        copies = list(
            conn.execute(
                sa.select(tables.pins.c.path).where(tables.pins.c.source == name)
            ).scalars()
        )
        for table in (*of_source, tables.chunks, tables.sources):
            conn.execute(sa.delete(table).where(table.c.source == name))
    for copy in copies:
        Path(copy).unlink(missing_ok=True)
    return loaded


def _targets(conn: sa.Connection, source: registry.Source) -> list[str]:
    """Return the schemas that hold rows of a source: the live one, and versions that are kept."""
    entry, inspector = tables.chunks.c, sa.inspect(conn)
    named = set(
        conn.execute(
            sa.select(entry.target).where(entry.source == source.name).distinct()
        ).scalars()
    )
    return sorted({source.kind.schema, *named} & set(inspector.get_schema_names()))
