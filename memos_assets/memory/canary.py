"""Search everything that we keep for texts of a user: tables as they are sent, files as they are.

Each table of the database is read once, in binary COPY format, where texts and bytes are as they
were given; columns of vectors are left out. Files are those in the folders of this project and of
Dagster, and those of snapshots; `stored_content` reads compressed ones. Not looked at, because
nobody can from here: the write-ahead log, rows that are deleted and not yet vacuumed, replicas, and
backups that others made.
"""

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.memory import stored_content
from memos_assets.postgres.connection import driver_of
from memos_assets.snapshots.store import Store

_log = logging.getLogger(__name__)

#: Shorter texts are in others' rows by chance.
SHORTEST: Final = 12
#: So much of a long text is looked for.
LONGEST: Final = 200
MOST: Final = 60
_READ: Final = 1 << 20
#: Texts in such files may be overwritten without harm to their reader.
_PLAIN: Final = (".log", ".txt", ".err", ".out", ".complete", ".json", ".jsonl", ".html", ".md")
_IN_DUMPS: Final = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
NOT_LOOKED_AT: Final = (
    "the write-ahead log",
    "deleted rows that are not vacuumed yet",
    "replicas and backups that others made",
    "sources of memOS in their own folders",
)

_TABLES = sa.text(
    """
    select n.nspname, c.relname, array_agg(a.attname::text order by a.attnum)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = ''
    join pg_catalog.pg_type t on t.oid = a.atttypid
    where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
        and t.typname not in ('vector', 'halfvec', 'sparsevec')
    group by 1, 2 order by 1, 2
    """
)


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search looked at, and where it found a text.

    Attributes:
        tables: that were read.
        table_bytes: that were read of them.
        files: that were read.
        unread: files that could not be read, and why.
        found: table or file -> how many of the texts are in it.
    """

    tables: int
    table_bytes: int
    files: int
    unread: tuple[str, ...] = ()
    found: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Places:
    """What is searched beside the database.

    Attributes:
        folders: read with everything below them; links are not followed.
        skip: folders below them that are not read: PostgreSQL's own files.
        store: of snapshots, wherever it is; None: there is none.
    """

    folders: Sequence[Path]
    skip: Sequence[Path] = ()
    store: Store | None = None


def needles(texts: Iterable[str]) -> dict[str, tuple[bytes, ...]]:
    """Return text -> its spellings in bytes; short ones are left out.

    As it is, within JSON, and within a dump of PostgreSQL.
    """
    chosen: dict[str, tuple[bytes, ...]] = {}
    for text in texts:
        cut = text[:LONGEST]
        if len(cut) >= SHORTEST and len(chosen) < MOST:
            spelt = (
                cut,
                json.dumps(cut)[1:-1],
                json.dumps(cut, ensure_ascii=False)[1:-1],
                cut.translate(_IN_DUMPS),
            )
            chosen[cut] = tuple({one.encode() for one in spelt})
    return chosen


def search(conn: sa.Connection, places: Places, texts: Iterable[str]) -> Searched:
    """Search every table of the database and every file of some places for texts.

    Args:
        conn: as a user who may read every table.
        places: beside the database.
        texts: at least `SHORTEST` characters long; the first `LONGEST` ones are looked for.
    """
    wanted = needles(texts)
    found: dict[str, int] = {}
    driver, read, tables = driver_of(conn), 0, 0
    for schema, table, columns in conn.execute(_TABLES).all():
        statement = sql.SQL("copy {} ({}) to stdout (format binary)").format(
            sql.Identifier(schema, table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            # Under row-level security COPY is refused rather than filtered for the owner of none.
            hits, size = _hits((bytes(block) for block in copy), wanted)
        tables, read = tables + 1, read + size
        if hits:
            found[f"{schema}.{table}"] = hits
    files, unread = 0, []
    for name, blocks in _contents(places):
        try:
            hits, _ = _hits(blocks, wanted)
        except stored_content.UNREADABLE as error:
            _log.warning("%s cannot be read: %s", name, error)
            unread.append(f"{name} ({type(error).__name__})")
            continue
        files += 1
        if hits:
            found[name] = hits
    return Searched(tables, read, files, tuple(unread), found)


def _contents(places: Places) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each file's name and what is in it."""
    skip = list(places.skip)
    if places.store is not None:
        if places.store.local is not None:
            skip.append(places.store.local)
        for name in places.store.names(""):
            opened = partial(places.store.open_input, name)
            yield f"{places.store.url}/{name}", stored_content.blocks(name, opened)
    for path in _files(places.folders, skip):
        yield str(path), stored_content.blocks_of(path)


def overwrite(paths: Iterable[str], texts: Iterable[str]) -> list[str]:
    """Overwrite texts in plain files by asterisks of the same length; return the changed files."""
    spellings = sorted({one for many in needles(texts).values() for one in many}, key=len)
    changed = []
    for name in paths:
        path = Path(name)
        if path.suffix not in _PLAIN or not path.is_file():
            continue
        content = path.read_bytes()
        for spelling in reversed(spellings):
            content = content.replace(spelling, b"*" * len(spelling))
        with path.open("r+b") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        changed.append(name)
    return changed


def _hits(blocks: Iterable[bytes], wanted: dict[str, tuple[bytes, ...]]) -> tuple[int, int]:
    """Return how many of the texts are in a stream, and its bytes."""
    left = dict(wanted)
    overlap = max((len(one) for many in wanted.values() for one in many), default=1) - 1
    size, tail, waiting = 0, b"", bytearray()
    for block in blocks:
        size += len(block)
        waiting += block
        if len(waiting) >= _READ:
            tail = _look(tail + bytes(waiting), left)[-overlap:]
            waiting.clear()
    _look(tail + bytes(waiting), left)
    return len(wanted) - len(left), size


def _look(content: bytes, left: dict[str, tuple[bytes, ...]]) -> bytes:
    for text in [text for text, many in left.items() if any(one in content for one in many)]:
        del left[text]
    return content


def _files(folders: Sequence[Path], skip: Sequence[Path]) -> Iterator[Path]:
    left_out = {path.resolve() for path in skip}
    seen: set[Path] = set()
    for folder in folders:
        for place, below, names in os.walk(folder.resolve()):
            below[:] = sorted(name for name in below if Path(place, name) not in left_out | seen)
            seen.add(Path(place))
            for name in sorted(names):
                path = Path(place, name)
                if path.is_file() and not path.is_symlink():
                    yield path
