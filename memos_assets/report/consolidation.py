"""The outcome of one consolidation, for commands and reports."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime

from memos_assets.postgres.versions.swap import Exchange
from memos_assets.report.outcomes import CheckResult


@dataclass(slots=True)
class Consolidation:
    """The outcome of a consolidation.

    Attributes:
        id: value of the tag that its runs carry.
        schema: that holds what it loaded.
        run_ids: its runs, in order.
        failures: one line per failed step; an error of this package has a code and a fix.
        stale_chunks: chunks that were missing or changed and were loaded.
        checklist: the result of every check.
        notes: further messages for the user.
        exchange: the swap that made its version live; None without a swap.
    """

    id: str
    schema: str
    run_ids: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stale_chunks: int = 0
    checklist: list[CheckResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    exchange: Exchange | None = None

    @property
    def proven(self) -> bool:
        """Whether no step failed and every check passed."""
        return not self.failures and all(result.proven for result in self.checklist)


def new_consolidation(schema: str) -> Consolidation:
    """Return a consolidation into a schema, with an id that sorts by time."""
    return Consolidation(f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}", schema)
