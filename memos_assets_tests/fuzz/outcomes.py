"""The outcome of one file, and whether it is an allowed one."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import sqlalchemy as sa

from memos_assets.catalog import MEMOS, FileKind
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.errors import MemosAssetsError
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets_tests.consolidate import builders as b

#: Seconds that one small file may take, on a busy machine.
LONGEST = 30.0

#: Checks that pass for any content of a file; derived columns and indexes depend on the content.
PROOF = (
    "v01_row_counts_match",
    "v02_rows_match_bit_for_bit",
    "v04_embedded_rows_match",
    "v05_links_lead_somewhere",
)


def forget_everything(engine: sa.Engine) -> None:
    with engine.begin() as conn:
        for spec in MEMOS.tables:
            conn.execute(sa.delete(table_of(spec)))
        for table in reversed(tables.metadata.sorted_tables):
            if table.schema == tables.OPS_SCHEMA:
                conn.execute(sa.delete(table))


@contextmanager
def in_time() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < LONGEST


def consolidated(engine: sa.Engine, path: Path) -> Pin | MemosAssetsError | None:
    """Return the pin that was loaded, the one error, or None where a file is left alone."""
    try:
        file = b.only(path)
        if file.treatment == "unusable":
            assert file.error is not None
            return file.error
        if file.treatment != "consolidate":
            return None
        return b.consolidate(engine, path)
    except MemosAssetsError as error:
        return error


def lost_rows(engine: sa.Engine, path: Path, kind: FileKind) -> Mapping[str, tuple[int, int]]:
    """Return (rows SQLite reads, rows loaded or rejected) of the tables where that differs."""
    lost = {}
    with closing(sqlite3.connect(path)) as connection, engine.connect() as conn:
        connection.text_factory = bytes
        for spec in kind.tables:
            try:
                read = len(
                    connection.execute(f'select rowid from "{spec.origin}" not indexed').fetchall()
                )
            except sqlite3.Error:
                continue
            table = table_of(spec)
            mine = sa.not_(table.c.reversed) if spec.mirrored else sa.true()
            loaded = conn.execute(
                sa.select(sa.func.count()).select_from(table).where(mine)
            ).scalar_one()
            rejected = conn.execute(
                sa.select(sa.func.count()).where(tables.rejects.c.table_name == spec.name)
            ).scalar_one()
            if read != loaded + rejected:
                lost[spec.name] = read, loaded + rejected
    return lost


def is_sound(path: Path) -> bool:
    """Whether SQLite itself finds nothing wrong in a file."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.text_factory = bytes
            return connection.execute("pragma integrity_check").fetchall() == [(b"ok",)]
    except sqlite3.Error:
        return False


def unproven(engine: sa.Engine, pin: Pin) -> dict[tuple[str, str], str]:
    return {place: what for place, what in b.red(engine, pin).items() if place[1] in PROOF}


def check_reasons(engine: sa.Engine) -> None:
    """Every row that was not loaded, and every embedding that is NULL, says a known reason why."""
    reasons = {reason for (reason,) in b.rows(engine, "select reason from memos_ops.rejects")}
    assert reasons <= REJECT_REASONS.keys()
    for spec in MEMOS.tables:
        table = table_of(spec)
        for vector in spec.vectors:
            embedding, reason = table.c[vector.name], table.c[vector.reason_name]
            with engine.connect() as conn:
                found = conn.execute(sa.select(embedding.is_(None), reason).distinct()).all()
            assert {row[1] for row in found if row[0]} <= EMBEDDING_REASONS.keys()
            assert {row[1] for row in found if not row[0]} <= {None}
