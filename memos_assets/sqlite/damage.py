"""Damage of a table in a file: of its pages, which hold rows, or of its indexes alone."""

import hashlib
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from memos_assets.sqlite.errors import shown
from memos_assets.sqlite.file import quoted, unindexed
from memos_assets.sqlite.row_codec import Value, row_bytes

#: Messages about values, as opposed to the structure of the file.
_OF_VALUES = re.compile(r"[\w-]+ value in |CHECK constraint")
#: Messages about an index whose table is whole.
_OF_INDEX = re.compile(
    r"row \d+ (missing from|values differ from) index |(wrong # of entries|non-unique entry) in "
    r"index |rowid not at end-of-record for row \d+ of index "
)
#: SQLite's errors where the check itself cannot be done, as opposed to what it finds.
_UNCHECKABLE = ("SQLITE_ERROR", "SQLITE_AUTH", "SQLITE_TOOBIG")


@dataclass(frozen=True, slots=True)
class Damage:
    """The first damage that was found.

    Attributes:
        text: what SQLite says of it.
        of_index: whether only indexes are damaged, so that no row is lost.
    """

    text: str
    of_index: bool


def damage(connection: sqlite3.Connection, table: str, key: Sequence[str]) -> Damage | None:
    """Return the damage of a table and its indexes, None where there is none.

    A page that lost its place makes rows disappear without any error, and so does an index that
    lost entries, where it is asked: this walks all pages and compares every index with its table.
    An index that only code of another program can compare is left out, because nothing of that is
    run; no row is ever looked for in one.

    Args:
        connection: to the file.
        table: the table.
        key: columns that the file keeps unique by an index.
    """
    try:
        messages = _messages(connection, f"pragma integrity_check({quoted(table)})")
        is_compared = True
    except (sqlite3.OperationalError, sqlite3.DataError) as error:
        if not error.sqlite_errorname.startswith(_UNCHECKABLE):
            raise
        messages = _messages(connection, f"pragma quick_check({quoted(table)})")
        is_compared = False
    found = sorted((bool(_OF_INDEX.match(message)), message) for message in messages)
    if found:
        of_index, message = found[0]
        return Damage(shown(message, 200), of_index)
    (encoding,) = connection.execute("pragma encoding").fetchone()
    if is_compared and encoding == "UTF-8":
        return None
    # Texts that differ in UTF-16 may be the same in UTF-8.
    return _key_twice(connection, table, key)


def _messages(connection: sqlite3.Connection, pragma: str) -> list[str]:
    return [
        message.replace("*** in database main ***\n", "")
        for (message,) in connection.execute(pragma).fetchall()
        if message != "ok" and not _OF_VALUES.match(message)
    ]


def _key_twice(connection: sqlite3.Connection, table: str, key: Sequence[str]) -> Damage | None:
    names = ", ".join(map(quoted, key))
    seen: set[bytes] = set()
    values: Sequence[Value]
    for values in connection.execute(f"select {names} from {unindexed(table)}"):
        if None in values:
            continue
        digest = hashlib.blake2b(row_bytes(values), digest_size=16).digest()
        if digest in seen:
            what = ", ".join(shown(repr(value)) for value in values)
            return Damage(f"the key ({', '.join(key)}) {what} is there twice", of_index=True)
        seen.add(digest)
    return None
