"""Which tables search offers, found by their names."""

from collections.abc import Iterable

from memos_assets.catalog import Table
from memos_assets.errors import UsageError

#: The largest k: pgvector's limit of candidates per search.
MOST_HITS = 1_000


def searchable(name: str, among: Iterable[Table]) -> Table:
    """Return a table that can be searched.

    Raises:
        UsageError: M570 there is none of this name.
    """
    known = {table.name: table for table in among if table.is_searched}
    if name not in known:
        raise UsageError(
            "M570",
            "no table that can be searched",
            where=name,
            fix=f"name one of: {', '.join(sorted(known))}",
        )
    return known[name]
