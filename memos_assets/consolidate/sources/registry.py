"""The registry in `memos_ops`: which SQLite files are sources, and their pinned copies."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from memos_assets.catalog import FileKind, TableSpec
from memos_assets.catalog.folder_markers import DEMO_MANIFEST
from memos_assets.consolidate.sources.chunks import ChunkContent
from memos_assets.consolidate.sources.discover import FoundFile, spare_name
from memos_assets.consolidate.sources.half_moved import refuse_half_moved
from memos_assets.consolidate.sources.pins import Pin, fingerprint
from memos_assets.errors import SourceError, UsageError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.upsert import upsert


@dataclass(frozen=True, slots=True)
class Source:
    """A registered SQLite file."""

    name: str
    kind: FileKind
    path: Path
    pin_digest: str | None
    retired_to: Path | None = None

    @property
    def location(self) -> Path:
        """The present path: in the archive once the file is retired."""
        return self.retired_to or self.path


def register(conn: sa.Connection, file: FoundFile) -> str | None:
    """Bind the name of a source to its file.

    A name may move to another file of its kind when the former one is gone, was part of a demo
    folder, or holds the same bytes.

    Returns:
        The path that the name belonged to so far, None when it is the same or the name is new.

    Raises:
        UsageError: M525 when the name belongs to another file: its rows would be replaced by
            foreign ones. M529 when it belongs to a retired one and this holds other bytes: memOS
            made a file anew, and the rows of the retired one would give way to it. M563 when the
            file is a source of another name.
        TargetError: M370 as `refuse_half_moved`.
    """
    assert file.kind is not None
    refuse_half_moved(conn, file.source)
    _refuse_second_name(conn, file)
    known = conn.execute(
        sa.select(tables.sources, tables.pins.c.fingerprint)
        .join(
            tables.pins,
            sa.and_(
                tables.pins.c.source == tables.sources.c.source,
                tables.pins.c.digest == tables.sources.c.pin_digest,
            ),
            isouter=True,
        )
        .where(tables.sources.c.source == file.source)
    ).first()
    if known is not None and known.retired_to is not None:
        if known.fingerprint == fingerprint(file.path):
            return None
        raise UsageError(
            "M529",
            f"the name belongs to a retired source, whose file is at {known.retired_to}; "
            f"{file.path} is another file",
            where=file.source,
            fix=f"give this file a name of its own: --data {spare_name(file.source)}={file.path}",
        )
    moved = known is not None and known.path != str(file.path)
    if known is not None and (moved or known.kind != file.kind.name):
        gives_way = known.kind == file.kind.name and (
            not Path(known.path).exists()
            or is_demo(Path(known.path))
            or known.fingerprint == fingerprint(file.path)
        )
        if not gives_way:
            raise UsageError(
                "M525",
                f"the name belongs to {known.path} ({known.kind}), "
                f"this is {file.path} ({file.kind.name})",
                where=file.source,
                fix="move the former file out of the way if this one takes its place, and the name "
                "moves along; or give this one a name of its own: "
                f"--data {spare_name(file.source)}={file.path}",
            )
    conn.execute(
        upsert(tables.sources, "path", "is_demo"),
        {
            "source": file.source,
            "kind": file.kind.name,
            "path": str(file.path),
            "is_demo": is_demo(file.path),
        },
    )
    return known.path if known is not None and moved else None


def _refuse_second_name(conn: sa.Connection, file: FoundFile) -> None:
    source = tables.sources.c
    name = conn.execute(
        sa.select(source.source).where(
            source.path == str(file.path),
            source.source != file.source,
            source.retired_to.is_(None),
        )
    ).scalar()
    if name is not None:
        raise UsageError(
            "M563",
            f"the file is the source {name} already; as {file.source}, too, each of its rows "
            "would be there twice",
            where=str(file.path),
            fix=f"use the name that it has: --data {name}={file.path}",
        )


def refuse_mixing(conn: sa.Connection, files: Iterable[FoundFile]) -> None:
    """Refuse to load the files of a demo beside others, or others beside those of a demo.

    Raises:
        UsageError: M564.
    """
    found = [(file.path, is_demo(file.path)) for file in files if file.treatment == "consolidate"]
    source = tables.sources.c
    known = [
        (Path(row.path), row.is_demo or is_demo(Path(row.path)))
        for row in conn.execute(sa.select(source.path, source.is_demo))
    ]
    for path, demo in found:
        other = next((other for other, is_other in (*known, *found) if is_other != demo), None)
        if other is not None:
            raise UsageError(
                "M564",
                f"rows of a demo would be mixed with those of {other if demo else path}",
                where=str(path if demo else other),
                fix="give the demo a database of its own: MEMOS_HOME=DIR memos-assets "
                "consolidate --data DEMO, or another MEMOS_DATABASE_URL",
            )


def is_demo(path: Path) -> bool:
    """Whether a file is in a folder that `memos-assets demo` wrote."""
    return any((parent / DEMO_MANIFEST).is_file() for parent in path.parents)


def registered_sources(conn: sa.Connection, kinds: Iterable[FileKind]) -> list[Source]:
    """Return the registered sources of some kinds, by name.

    Catalogs share the registry, and no name of a kind.
    """
    named = {kind.name: kind for kind in kinds}
    source = tables.sources.c
    statement = sa.select(tables.sources).where(source.kind.in_(named)).order_by(source.source)
    return [
        Source(
            row.source,
            named[row.kind],
            Path(row.path),
            row.pin_digest,
            Path(row.retired_to) if row.retired_to else None,
        )
        for row in conn.execute(statement)
    ]


def sources_named(conn: sa.Connection, kind: FileKind, names: Collection[str]) -> list[Source]:
    """Return registered sources of a kind.

    Raises:
        UsageError: M526 when a name is not registered.
    """
    known = registered_sources(conn, [kind])
    for name in sorted(set(names) - {source.name for source in known}):
        source_named(conn, [kind], name)
    return [source for source in known if source.name in names]


def source_named(conn: sa.Connection, kinds: Iterable[FileKind], name: str) -> Source:
    """Return one registered source of some kinds.

    Raises:
        UsageError: M526 when there is none of that name.
    """
    found = registered_sources(conn, kinds)
    for source in found:
        if source.name == name:
            return source
    raise UsageError(
        "M526",
        f"no such source; there are: {', '.join(source.name for source in found) or 'none'}",
        where=name,
        fix="register it first: memos-assets observe --data DIR",
    )


def record_pin(conn: sa.Connection, pin: Pin) -> None:
    """Store a pin with its chunks, and make it the pin that loads work from."""
    conn.execute(
        upsert(tables.pins, "origin", "fingerprint", "path", "rows", "pinned_at"),
        {
            "source": pin.source,
            "digest": pin.digest,
            "origin": str(pin.origin),
            "fingerprint": pin.fingerprint,
            "path": str(pin.path),
            "chunk_rows": pin.chunk_rows,
            "rows": dict(pin.rows),
        },
    )
    if pin.chunks:
        conn.execute(
            insert(tables.pin_chunks).on_conflict_do_nothing(),
            [
                {
                    "source": pin.source,
                    "pin_digest": pin.digest,
                    "origin_table": content.table,
                    "chunk": content.chunk,
                    "rows": content.rows,
                    "bytes": content.bytes,
                    "digest": content.digest,
                }
                for content in pin.chunks
            ],
        )
    conn.execute(
        sa.update(tables.sources)
        .where(tables.sources.c.source == pin.source)
        .values(pin_digest=pin.digest)
    )


def recorded_pin(conn: sa.Connection, source: Source, digest: str) -> Pin | None:
    """Return a stored pin, None when there is none of this digest or its copy is gone."""
    row = conn.execute(
        sa.select(tables.pins, tables.sources.c.retired_to)
        .join(tables.sources, tables.sources.c.source == tables.pins.c.source)
        .where(tables.pins.c.source == source.name, tables.pins.c.digest == digest)
    ).first()
    if row is None or not Path(row.path).exists():
        return None
    contents = conn.execute(
        sa.select(tables.pin_chunks)
        .where(tables.pin_chunks.c.source == source.name, tables.pin_chunks.c.pin_digest == digest)
        .order_by(tables.pin_chunks.c.origin_table, tables.pin_chunks.c.chunk)
    )
    return Pin(
        source=source.name,
        kind=source.kind,
        # A retired file is compared in the archive.
        origin=Path(row.retired_to or row.origin),
        fingerprint=row.fingerprint,
        digest=digest,
        path=Path(row.path),
        chunk_rows=row.chunk_rows,
        rows=row.rows,
        chunks=tuple(
            ChunkContent(c.origin_table, c.chunk, c.rows, c.bytes, c.digest) for c in contents
        ),
    )


def superseded_pins(conn: sa.Connection, source: str) -> list[Path]:
    """Forget pins of a source that neither a load nor a proof needs; return their paths."""
    current = sa.select(tables.sources.c.pin_digest).where(tables.sources.c.source == source)
    ledger = sa.select(tables.chunks.c.pin_digest).where(tables.chunks.c.source == source)
    rows = conn.execute(
        sa.delete(tables.pins)
        .where(
            tables.pins.c.source == source,
            tables.pins.c.digest.not_in(current.scalar_subquery()),
            tables.pins.c.digest.not_in(ledger.scalar_subquery()),
            tables.pins.c.pinned_at < sa.func.now() - sa.text("interval '1 day'"),
        )
        .returning(tables.pins.c.path)
    )
    return [Path(row.path) for row in rows]


def chosen_pin(conn: sa.Connection, consolidation: str, source: str) -> str | None:
    """Return the digest of the pin that a consolidation works from."""
    chosen = tables.consolidation_pins.c
    return conn.execute(
        sa.select(chosen.pin_digest).where(
            chosen.consolidation == consolidation, chosen.source == source
        )
    ).scalar()


def choose_pin(
    conn: sa.Connection, consolidation: str, source: str, digest: str, *, gone: str | None = None
) -> str:
    """Bind a consolidation to a pin; the first choice stays, of whichever process it is.

    Only ``gone``, a choice whose copy was deleted, is replaced: the consolidation is planned again.
    """
    choice = tables.consolidation_pins
    conn.execute(
        upsert(choice, "pin_digest", where=choice.c.pin_digest == gone),
        {"consolidation": consolidation, "source": source, "pin_digest": digest},
    )
    chosen = chosen_pin(conn, consolidation, source)
    assert chosen is not None
    return chosen


def pin_required(conn: sa.Connection, source: Source) -> Pin:
    """Return the pin that a source's loads work from.

    Raises:
        SourceError: M107 when there is none: the source was never observed, or its copy is gone.
    """
    pin = recorded_pin(conn, source, source.pin_digest) if source.pin_digest else None
    if pin is None:
        raise SourceError(
            "M107",
            "the source has no pinned copy",
            where=str(source.location),
            fix="observe it again: memos-assets observe",
        )
    return pin


def specs_in(pin: Pin) -> list[TableSpec]:
    """Return the specs whose SQLite table exists in a pin."""
    return [spec for spec in pin.kind.tables if spec.origin in pin.rows]
