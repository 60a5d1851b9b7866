"""What a ranking by BM25 must know of a whole table: its number of rows, and their mean length.

Both are in the comment of the table's full-text index, so every role that searches reads them, and
they stay with a version of the tables. A build writes them; materialising the index asset writes
them again when the number of rows has changed by more than 10 %. Document frequencies are not
here: the search counts them in the rows that it finds.
"""

import re
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.postgres.connection import driver_of

#: Between an index's mark and its corpus in the comment.
NOTED: Final = "; "
#: The functions for search read it, too: sql/functions/parts/corpus.jinja.
_NOTE = re.compile(r"(\d+) documents of ([0-9.]+) words")
#: Share by which the number of rows may change before they are counted again.
DRIFT: Final = 0.1


@dataclass(frozen=True, slots=True)
class CorpusStatistics:
    """The documents of a table.

    Attributes:
        documents: rows.
        mean_words: lexemes of a row with repetitions, on average.
    """

    documents: int
    mean_words: float

    def __str__(self) -> str:
        return f"{self.documents} documents of {self.mean_words:.6f} words"

    @classmethod
    def parse(cls, text: str) -> "CorpusStatistics | None":
        """Return what a comment says; None where it says nothing."""
        found = _NOTE.fullmatch(text)
        return None if found is None else cls(int(found[1]), float(found[2]))

    def is_of(self, rows: int) -> bool:
        """Return whether a table of so many rows may still be ranked by it."""
        return abs(rows - self.documents) <= DRIFT * self.documents


def corpus_statistics(conn: sa.Connection, table: sql.Identifier) -> CorpusStatistics:
    """Return the statistics of a table with ``search_text``; every row is read."""
    row = (
        driver_of(conn)
        .execute(
            sql.SQL(
                "select count(*), coalesce(avg((select sum(coalesce(cardinality(positions), 1)) "
                "from unnest({}) as word(lexeme, positions, weights))), 0) from {}"
            ).format(sql.Identifier(SEARCH_TEXT), table)
        )
        .fetchone()
    )
    assert row is not None
    return CorpusStatistics(int(row[0]), float(row[1]))
