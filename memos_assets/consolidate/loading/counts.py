"""Rows of one chunk by outcome, as they are counted while it is loaded."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Counts:
    """Rows of one chunk by outcome.

    Attributes:
        rows: loaded, mirrored ones left out.
        rejected: not loaded, whether open or dropped.
        mirrored: added for the reverse direction.
        without_embedding: reason -> loaded rows.
        repaired: rule -> loaded rows that it changed.
        integral_reals: SQLite column -> REAL values that were read as the integers they equal.
        faults: every reason that was found, settled or not.
    """

    rows: int = 0
    rejected: int = 0
    mirrored: int = 0
    without_embedding: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    integral_reals: Counter[str] = field(default_factory=Counter)
    faults: set[str] = field(default_factory=set)

    def add(self, other: "Counts") -> None:
        """Take the counts of a batch of the same chunk."""
        self.rows += other.rows
        self.rejected += other.rejected
        self.mirrored += other.mirrored
        self.without_embedding += other.without_embedding
        self.repaired += other.repaired
        self.integral_reals += other.integral_reals
        self.faults |= other.faults

    @property
    def copied(self) -> int:
        """Rows in PostgreSQL, mirrored ones included."""
        return self.rows + self.mirrored

    def as_ledger(self) -> dict[str, Any]:
        """Return the columns of the ledger that these counts fill."""
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "mirrored": self.mirrored,
            "without_embedding": dict(sorted(self.without_embedding.items())),
            "repaired": dict(sorted(self.repaired.items())),
        }
