"""The remediation plan's verification checklist, line by line, and the checks that answer it.

The words are those of memOS's Data Systems Implementation Plan of 2025-12-29. Where a line cannot
hold as it is written, a note says what is checked in its place. docs/checklist.md and
`memos-assets verify --plan` are computed from these lines.
"""

from dataclasses import dataclass
from typing import Final

from memos_assets.check import AnyCheck, Checklist


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One line of the checklist.

    Attributes:
        phase: of the remediation plan, 1 to 6.
        words: its own, as Markdown.
        numbers: of the checks that answer it.
        note: what is checked where the line cannot hold as it is written.
    """

    phase: int
    words: str
    numbers: tuple[int, ...]
    note: str = ""

    def checks(self, checklist: Checklist) -> tuple[AnyCheck, ...]:
        """Return its checks.

        Raises:
            ValueError: the checklist lacks one of them.
        """
        found = {check.number: check for check in checklist}
        if missing := [number for number in self.numbers if number not in found]:
            raise ValueError(f"no check has the number {missing[0]}: {self.words}")
        return tuple(found[number] for number in self.numbers)


LINES: Final = (
    PlanLine(
        1,
        "Vector queries use HNSW index: `EXPLAIN ANALYZE SELECT ... ORDER BY embedding <-> ...`",
        (6, 7),
        "`<->` is L2, which an index by `vector_cosine_ops` never serves: `<=>` is "
        "checked, and EXPLAIN must name the index.",
    ),
    PlanLine(
        1,
        "Semantic cache hit rate > 0%: `GET /api/v1/search/cache/stats`",
        (51, 52),
        "memOS never stored a result, and its GET deleted rows: a workload is replayed, and wrong "
        "hits are counted beside right ones.",
    ),
    PlanLine(
        1,
        "No duplicate cache refresh (check logs for jitter)",
        (54, 55),
        "Jitter alone prevents no second refresh: callers in processes of their own are counted.",
    ),
    PlanLine(2, "No `AsyncSessionLocal()` in service methods", (42,)),
    PlanLine(
        2,
        "Quest-memory integration works (test quest completion with memory storage)",
        (62,),
        "The quest is completed in a transaction that is rolled back.",
    ),
    PlanLine(
        2,
        "No greenlet errors in logs",
        (63,),
        "A log without an error proves no call: the calls are made.",
    ),
    PlanLine(3, "A-MEM persists across server restarts", (43, 64)),
    PlanLine(
        3,
        "`_add_to_semantic_memory()` called in logs",
        (65,),
        "memOS's default preset never calls it. What the hooks left in memory is counted.",
    ),
    PlanLine(
        3,
        "Memory count increases after searches",
        (60, 61),
        "Promotions are compared with memories; the same finding again adds none.",
    ),
    PlanLine(4, "SQLite files archived: `ls archive/*.db`", (13,)),
    PlanLine(
        4,
        "PostgreSQL has migrated data: `SELECT COUNT(*) FROM embeddings`",
        (1, 2, 4),
        "A count says nothing of zeros, lost links and cut values: both sides are compared, bit "
        "for bit.",
    ),
    PlanLine(4, "No SQLite I/O in production logs", (66,), "Open files are looked at, not logs."),
    PlanLine(5, "`add_finding()` logged during search", (58,)),
    PlanLine(5, "Contradictions surfaced in synthesis", (59,)),
    PlanLine(
        5,
        "Scratchpad stats show usage: `GET /api/v1/search/scratchpad/stats`",
        (57, 67),
        "memOS has no such address; here it is one, and what it shows is compared with the events.",
    ),
    PlanLine(
        6,
        "Either use Redis or remove it",
        (56,),
        "Phase 6 has a goal and no line. Redis is removed (decision 016).",
    ),
)


def plan_checks(checklist: Checklist) -> Checklist:
    """Return the checks that answer the remediation plan, each once."""
    numbers = {number for line in LINES for number in line.numbers}
    return Checklist(tuple(check for check in checklist if check.number in numbers))
