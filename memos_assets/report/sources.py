"""The consolidated files compared with their pins: whether a file changed since its load."""

from collections.abc import Sequence
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin, file_digests, fingerprint_of, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.postgres.schema import tables
from memos_assets.report.tree import SourceFile


def source_files(conn: sa.Connection, catalog: Catalog) -> tuple[SourceFile, ...]:
    """Return every registered file; each is read again, to say whether it is newer than its pin."""
    registered = {s.name: s for s in registry.registered_sources(conn, catalog.consolidated)}
    source, pin = tables.sources.c, tables.pins.c
    rows = conn.execute(
        sa.select(
            source.source,
            source.pin_digest,
            pin.fingerprint,
            pin.path.label("copy"),
            pin.rows,
            pin.pinned_at,
            source.is_demo,
        )
        .join(
            tables.pins,
            sa.and_(pin.source == source.source, pin.digest == source.pin_digest),
            isouter=True,
        )
        .where(source.source.in_(registered))
        .order_by(source.source)
    ).all()
    return tuple(_source_file(conn, registered[row.source], row) for row in rows)


def _source_file(conn: sa.Connection, source: registry.Source, row: sa.Row) -> SourceFile:
    pin = registry.recorded_pin(conn, source, row.pin_digest) if row.pin_digest else None
    state, newer, file_sha256 = _state(pin, row.fingerprint, source.location)
    copy = Path(row.copy) if row.copy else None
    return SourceFile(
        source=row.source,
        kind=source.kind.name,
        path=str(source.location),
        bytes=copy.stat().st_size if copy is not None and copy.exists() else 0,
        rows=sum((row.rows or {}).values()),
        content_digest=row.pin_digest,
        fingerprint=row.fingerprint,
        file_sha256=file_sha256,
        pinned_at=row.pinned_at.isoformat(timespec="seconds") if row.pinned_at else None,
        state=f"retired; {state}" if source.retired_to else state,
        newer=newer,
        is_demo=row.is_demo,
    )


def _state(pin: Pin | None, fingerprint: str | None, path: Path) -> tuple[str, bool, str | None]:
    """Return the state of a file, whether it is newer than its pin, and its sha256 if unchanged."""
    if fingerprint is None:
        return "never pinned", True, None
    if not path.exists() and is_purged(path):
        return "purged from the archive", False, None
    try:
        digests = file_digests(path)
        if fingerprint_of(digests) == fingerprint:
            with_log = f" with {', '.join(_logs(digests))}" if len(digests) > 1 else ""
            return f"as it was pinned{with_log}", False, digests[""].hex()
        if pin is None:
            return "other bytes than were pinned, and the copy is gone", True, None
        if is_unchanged(pin):
            return "other bytes than were pinned, the same rows", False, None
    except SourceError as error:
        return f"cannot be read: {error.what}", True, None
    return "holds other rows than were pinned", True, None


def _logs(digests: dict[str, bytes]) -> Sequence[str]:
    return [f"its {suffix[1:]}" for suffix in digests if suffix]
