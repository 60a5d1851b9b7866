"""Decisions in words: those of the catalog about tables, and those of people about rejects."""

from collections.abc import Iterator

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind, Link, TableSpec, VectorColumn
from memos_assets.consolidate.decoding.repair_rules import RULES
from memos_assets.consolidate.loading.accepted import accepted
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.acknowledged import acknowledged
from memos_assets.postgres.schema import tables
from memos_assets.report.tree import Decision, Repair

_ENCODINGS = {
    "float16": "float16, little-endian",
    "float32": "float32, little-endian",
    "json_text": "a JSON array",
    "json_blob": "a JSON array as UTF-8 in a BLOB",
}


def decisions(catalog: Catalog) -> tuple[Decision, ...]:
    """Return the decisions of the catalog about every SQLite table that it describes."""
    return tuple(_decision(kind, spec) for kind in catalog.consolidated for spec in kind.tables)


def _decision(kind: FileKind, spec: TableSpec) -> Decision:
    return Decision(
        kind=kind.name,
        origin=spec.origin,
        table=spec.qualified,
        key=spec.primary_key,
        vectors=tuple(_vector(vector) for vector in spec.vectors),
        links=tuple(_link(link) for link in spec.links),
        notes=tuple(_notes(spec)),
        fingerprint=spec.fingerprint,
    )


def _vector(vector: VectorColumn) -> str:
    length = "as its row states" if vector.rule == "column" else "by its length"
    dimensions = ", ".join(f"{dimension:,}" for dimension in vector.dimensions)
    indexed = f"indexed for {dimensions}" if vector.indexed else "not indexed, scanned exactly"
    return (
        f"{vector.origin} ({_ENCODINGS[vector.encoding]}, dimension {length}) as {vector.name} "
        f"{vector.stored}, {indexed}"
    )


def _link(link: Link) -> str:
    end = f"{link.column} to {link.table}.{link.key}"
    if link.declared:
        return f"{end}: declared, a row without its end is rejected"
    return f"{end}: loose, a row without its end is loaded and names it in missing"


def _notes(spec: TableSpec) -> Iterator[str]:
    if spec.derived:
        yield f"not copied but recomputed and compared: {', '.join(spec.derived)}"
    if spec.mirrored:
        yield "a row with bidirectional set is loaded a second time, reversed"
    if spec.absent_ok:
        yield "the table is missing in some files"
    optional = [column.origin for column in spec.columns if column.optional]
    if optional:
        yield f"NULL where an older file lacks it: {', '.join(optional)}"


def repairs(conn: sa.Connection, catalog: Catalog) -> tuple[Repair, ...]:
    """Return the decisions of people about a catalog's tables and files, oldest first."""
    found = [*_about_rejects(conn, catalog), *_accepted(conn, catalog), *_left(conn, catalog)]
    return tuple(sorted(found, key=lambda repair: repair.decided_at))


def _accepted(conn: sa.Connection, catalog: Catalog) -> Iterator[Repair]:
    for one in accepted(conn, catalog):
        yield Repair(
            source=one.source,
            table=f"{one.table}.{one.column}",
            reason=one.reason,
            rule="accept",
            does="the embeddings stay NULL",
            decided_by=one.decided_by,
            decided_at=one.decided_at.isoformat(timespec="seconds"),
            note=one.note,
            rows=one.rows,
        )


def _left(conn: sa.Connection, catalog: Catalog) -> Iterator[Repair]:
    sources = registry.registered_sources(conn, catalog.consolidated)
    for one in acknowledged(conn, [source.name for source in sources]):
        yield Repair(
            source=one.source,
            table=one.name,
            reason="not in the catalog",
            rule="acknowledge",
            does="it stays in the file",
            decided_by=one.by,
            decided_at=one.at.isoformat(timespec="seconds"),
            note=one.reason,
        )


def _about_rejects(conn: sa.Connection, catalog: Catalog) -> Iterator[Repair]:
    entry = tables.repairs.c
    about = entry.table_name.in_([spec.name for spec in catalog.tables])
    yield from (
        Repair(
            source=row.source,
            table=row.table_name,
            reason=row.reason,
            rule=row.rule,
            does=RULES.get(row.rule, "not known"),
            decided_by=row.decided_by,
            decided_at=row.decided_at.isoformat(timespec="seconds"),
            note=row.note,
            rows=row.rows,
        )
        for row in conn.execute(sa.select(tables.repairs).where(about).order_by(entry.decided_at))
    )
