"""Compare the tables of a file with its kind; a file that does not match is refused."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from memos_assets.catalog import Catalog, FileKind, TableSpec
from memos_assets.consolidate.sources import encodings
from memos_assets.errors import MemosAssetsError, SourceError
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.damage import damage as damage_of
from memos_assets.sqlite.errors import damaged, damaged_index


def misfit(
    connection: sqlite3.Connection, path: Path, kind: FileKind, source: str
) -> MemosAssetsError | None:
    """Return why a file of a kind cannot be read as one, None when it fits.

    M105 when it lacks what its rows are read by; M201 when embeddings are encoded otherwise.
    """
    layout = sqlite_file.layout(connection)
    for spec in kind.tables:
        if spec.origin not in layout:
            if spec.absent_ok:
                continue
            return _layout_error(path, kind, f"table `{spec.origin}` is missing")
        columns = layout[spec.origin]
        lacking = sorted(spec.required_origins - columns)
        if lacking:
            return _layout_error(
                path, kind, f"table `{spec.origin}` lacks the column {', '.join(lacking)}"
            )
        try:
            if not sqlite_file.has_rowid(connection, spec.origin, columns):
                return _layout_error(path, kind, f"table `{spec.origin}` has no rowid")
        except SourceError as error:
            return error
        if not _has_unique_key(connection, spec):
            key = ", ".join(_key_origins(spec))
            what = f"nothing in table `{spec.origin}` keeps its key ({key}) unique"
            return _layout_error(path, kind, what)
    return encodings.misfit(connection, path, kind, source)


def damage(connection: sqlite3.Connection, path: Path, kind: FileKind) -> SourceError | None:
    """Return M104 when a table of a file or an index is damaged, None when all is in its place."""
    layout = sqlite_file.layout(connection)
    for spec in kind.tables:
        if spec.origin not in layout:
            continue
        found = damage_of(connection, spec.origin, _key_origins(spec))
        if found is not None and found.of_index:
            return damaged_index(f"{spec.origin}: {found.text}", path)
        if found is not None:
            return damaged(f"database disk image is malformed: {spec.origin}: {found.text}", path)
    return None


def near_miss(
    catalog: Catalog, path: Path, layout: Mapping[str, frozenset[str]]
) -> tuple[FileKind, SourceError] | None:
    """Return the kind whose name or main table a file has without all that makes it readable."""
    for kind in catalog.kinds:
        lacking = {
            table: sorted(columns - layout.get(table, frozenset()))
            for table, columns in kind.signature.items()
            if not columns <= layout.get(table, frozenset())
        }
        alike = any(
            len(columns & layout.get(table, frozenset())) * 2 >= len(columns)
            for table, columns in kind.signature.items()
        )
        if alike or kind.is_usual_name(path.name):
            table, columns = next(iter(lacking.items()))
            what = (
                f"table `{table}` lacks the column {', '.join(columns)}"
                if table in layout
                else f"table `{table}` is missing"
            )
            return kind, _layout_error(path, kind, what)
    return None


def _key_origins(spec: TableSpec) -> list[str]:
    return [spec.column(name).origin for name in spec.key]


def _has_unique_key(connection: sqlite3.Connection, spec: TableSpec) -> bool:
    """Whether a primary key or a unique index, not a partial one, covers no more than the key.

    Without one a key may come again in another chunk, where PostgreSQL would refuse it.
    """
    wanted = set(_key_origins(spec))
    table = sqlite_file.quoted(spec.origin)
    primary = {row[1] for row in connection.execute(f"pragma table_xinfo({table})") if row[5]}
    if primary and primary <= wanted:
        return True
    unique = [
        sqlite_file.quoted(row[1])
        for row in connection.execute(f"pragma index_list({table})").fetchall()
        if row[2] and not row[4]
    ]
    # An expression has no column name, and is none of the key's columns.
    return any(
        {row[2] for row in connection.execute(f"pragma index_info({index})")} <= wanted
        for index in unique
    )


def _layout_error(path: Path, kind: FileKind, what: str) -> SourceError:
    return SourceError(
        "M105",
        f"looks like {kind.name}, but {what}",
        where=str(path),
        fix="open it once with the memOS version that wrote it, restore it from a backup, "
        "or take it out of the folder",
    )
