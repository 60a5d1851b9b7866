"""V41: golden queries are answered as well as when they were last answered well."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.errors import MemosAssetsError
from memos_assets.finding import Finding
from memos_assets.memory import golden
from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.quality import Run, compare, summarise
from memos_assets.postgres.schema import tables
from memos_assets.settings import Settings

NAME = "v41_memory_quality_is_not_below_the_last"
#: Depth at which runs are compared.
DEPTH = 10
#: Of the evidence: the run that later ones are compared with.
BASELINE = "baseline"


def measured(engine: sa.Engine, settings: Settings) -> tuple[str, Run]:
    """Return the name of the configured set, and how well it is answered. Nothing is kept of it.

    Raises:
        UsageError: M783 the file of golden queries; AgentError: as `golden.measure`.
    """
    asked = golden.configured(settings)
    memory = SyncMemory(settings)
    prepared = golden.ready(asked, memory)
    # session-rule: S001 because a check has an engine, and what it remembers is rolled back
    with Session(engine) as session:
        return asked.name, golden.measure(session, memory, prepared)


def baseline(conn: sa.Connection, catalog: Catalog) -> Run | None:
    """Return the run that was last good enough; None before the first."""
    entry = tables.evaluations.c
    evidence: dict[str, Any] | None = conn.execute(
        sa.select(entry.evidence).where(
            entry.target == tables.schema_in(conn, catalog.schema),
            entry["claim"] == NAME,
            entry.asset == catalog.names.agent("quality"),
        )
    ).scalar()
    kept = (evidence or {}).get(BASELINE)
    return None if kept is None else Run.from_json(kept)


def judged(run: Run, before: Run | None) -> Finding:
    """V41: a run is not worse than the one before, by more than the choice of questions explains.

    A run that is worse does not become the one that later runs are compared with.
    """
    now = summarise(run.scores)
    observed = f"recall@{DEPTH} {now.recall[DEPTH]:.3f}, MRR {now.mrr:.3f}"
    evidence: dict[str, Any] = {
        "questions": now.questions,
        f"recall_at_{DEPTH}": round(now.recall[DEPTH], 4),
        "mrr": round(now.mrr, 4),
        "model": run.model or "words alone",
    }
    found = None if before is None else compare(before, run, depth=DEPTH)
    ranks = None if before is None else compare(before, run, depth=None)
    if found is None or ranks is None or before is None:
        first = "the first run of these questions"
        return Finding(
            passed=True, expected=first, observed=observed, evidence={**evidence, **_kept(run)}
        )
    worse = found.worse or ranks.worse
    evidence |= {
        "recall difference": round(found.difference, 4),
        "recall difference, 95 %": [round(found.low, 4), round(found.high, 4)],
        "MRR difference, 95 %": [round(ranks.low, 4), round(ranks.high, 4)],
        "compared questions": found.questions,
        "model before": before.model or "words alone",
    }
    return Finding(
        passed=not worse,
        expected=f"recall@{DEPTH} {found.before:.3f} and MRR {ranks.before:.3f} on "
        f"{found.questions:,} questions, within the 95 % interval",
        observed=f"{observed}; recall differs by {found.difference:+.3f} "
        f"[{found.low:+.3f}, {found.high:+.3f}], MRR by {ranks.difference:+.3f} "
        f"[{ranks.low:+.3f}, {ranks.high:+.3f}]",
        evidence={**evidence, **_kept(before if worse else run)},
    )


def _kept(run: Run) -> dict[str, Any]:
    return {BASELINE: run.to_json()}


def quality_is_not_below_the_last(context: CheckContext, _: None) -> Finding:
    """V41: asks the golden queries, and compares with the run that was last good enough."""
    with context.engine.connect() as conn:
        before = baseline(conn, context.catalog)
    try:
        run = measured(context.engine, context.settings)[1]
    except MemosAssetsError as error:
        kept = {} if before is None else _kept(before)
        return Finding(
            passed=False, expected="every question asked", observed=str(error), evidence=kept
        )
    return judged(run, before)


def _quality(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.agent("quality"), None, "memory_quality_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=41,
        name=NAME,
        title="The golden queries are answered as well as when they were last answered well.",
        fix="see which category fell in the asset memos/agent/quality; accept it with `accept: "
        "true` in the configuration of that asset",
        where="`memos/agent/quality`",
        reads="the golden queries (`MEMOS_GOLDEN_QUERIES`), asked in a transaction that is rolled "
        "back; the stored scores of the last good run; a paired bootstrap decides",
        when_failed="The model, the weights or the ranking changed. `memos/agent/quality` shows "
        "recall and MRR per category. Later runs are compared with the last good one until quality "
        "is back, or until somebody materialises that asset with `accept: true`.",
        subjects=_quality,
        judge=quality_is_not_below_the_last,
        group="memory",
    ),
)
