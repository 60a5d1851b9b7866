"""What a table loses on its way: rows and embeddings by reason, and when that takes much of it.

A fact of the file (an embedding that is missing, empty, zero or NaN, a link that leads nowhere, a
key that is NULL, a NUL in a text) is named, and nobody has to decide on it. Every other reason is
our reading of the file, and a reading that takes much of a table may be a mistake of ours: somebody
decides on it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

#: Reasons that the file shows to any reader.
FACTS: Final = frozenset(
    {"missing", "empty", "zero", "not_finite", "dangling_end", "null_key", "nul_character"}
)
#: Embeddings that are not there at all: no reading takes them.
_ABSENT: Final = frozenset({"missing", "empty"})
#: From so many rows on, and above such a share, a reading takes much of a table; or it takes all.
LEAST_ROWS: Final = 5
LARGEST_SHARE: Final = 0.05
#: Above such a share of a table a loss is named in the sentence of the verdict.
LEAST_SHARE: Final = 0.001
#: Losses that a sentence names.
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows, or embeddings of one column, that one source loses in one table for one reason.

    Attributes:
        source: name of the source.
        table: in PostgreSQL, without its schema.
        column: of the embeddings; empty where rows are lost.
        reason: why.
        count: how many are lost.
        of: how many there are: rows of the source's table, or embeddings in its rows.
    """

    source: str
    table: str
    column: str
    reason: str
    count: int
    of: int

    @property
    def is_fact(self) -> bool:
        """Whether the file shows the reason by itself."""
        return self.reason in FACTS

    @property
    def takes_much(self) -> bool:
        """Whether a reading of ours takes so much that somebody has to decide on it."""
        large = self.count >= LEAST_ROWS and self.count > LARGEST_SHARE * self.of
        return not self.is_fact and self.count > 0 and (large or self.count >= self.of)

    @property
    def share(self) -> float:
        """Lost part of what there is, 0 to 1."""
        return self.count / self.of if self.of else 0.0

    def __str__(self) -> str:
        lost = f"{self.reason} {self.count:,} of {self.of:,}"
        what = f"{self.column} {lost}" if self.column else f"{lost} rows"
        return f"{what} ({self.share:.1%})"


def row_losses(source: str, table: str, rows: int, rejects: Mapping[str, int]) -> Iterator[Loss]:
    """Yield what is lost of ``rows`` rows; ``rejects``: reason -> rows."""
    for reason, count in sorted(rejects.items()):
        yield Loss(source, table, "", reason, count, rows)


def embedding_losses(
    source: str, table: str, rows: int, without: Mapping[str, int]
) -> Iterator[Loss]:
    """Yield what is lost of the embeddings of loaded rows.

    Args:
        source: name of the source.
        table: of the rows.
        rows: that are loaded.
        without: ``column: reason`` -> rows whose embedding is NULL, as the ledger counts them.
    """
    absent: dict[str, int] = {}
    for name, count in without.items():
        column, _, reason = name.rpartition(": ")
        absent[column] = absent.get(column, 0) + (count if reason in _ABSENT else 0)
    for name, count in sorted(without.items()):
        column, _, reason = name.rpartition(": ")
        of = rows if reason in FACTS else rows - absent[column]
        yield Loss(source, table, column or "embedding", reason, count, of)


def by_table(losses: Iterable[Loss]) -> list[Loss]:
    """Sum losses up over the sources of each table; ``source`` is then empty."""
    summed: dict[tuple[str, str, str], Loss] = {}
    for one in losses:
        place = (one.table, one.column, one.reason)
        so_far = summed.get(place)
        count, of = (so_far.count, so_far.of) if so_far else (0, 0)
        summed[place] = Loss("", *place, count + one.count, of + one.of)
    return sorted(summed.values(), key=lambda one: (-one.share, one.table, one.column, one.reason))


def sentence(losses: Sequence[Loss], heading: str = "Lost by table") -> str:
    """Return the largest losses by table in one sentence; empty where none is above 0.1 %."""
    large = [one for one in losses if one.share > LEAST_SHARE]
    named = [f"{one.table}: {one}" for one in large[:_MOST_NAMED]]
    if named and len(losses) > len(named):
        smaller = len(losses) - len(named)
        named.append(f"and {smaller} smaller {'one' if smaller == 1 else 'ones'}")
    return f"{heading}: {'; '.join(named)}." if named else ""
