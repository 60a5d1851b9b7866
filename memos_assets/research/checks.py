"""V65: what runs of research observed and concluded is in memory."""

from typing import Final

import sqlalchemy as sa

from memos_assets.blackboard.checks import boards_asset
from memos_assets.blackboard.requests import FINDINGS
from memos_assets.check import AnyCheck, Check, by_connection
from memos_assets.finding import Finding
from memos_assets.postgres.user_rows import ERASED
from memos_assets.research.boards import RUN

_SHOWN: Final = 10
#: Of each run that left its work in memory: findings of corpora that it cites, and its memories.
_RUNS: Final = sa.text(
    f"""
    select b.id,
        (select count(*) from agent.board_entries s
            cross join lateral pg_catalog.jsonb_array_elements_text(s.value->'cites') cited
            join agent.board_entries f on f.board = b.number and f.level = '{FINDINGS}'
                and f.key = cited.value
            where s.board = b.number and s.level = 'syntheses'
                and f.value->>'source' not like 'memory:%') as cited,
        (select count(*) from agent.memories m where m.kind = 'observation'
            and m.attributes->>'request_id' = b.id::text) as observed,
        (select count(*) from agent.memories m where m.kind = 'reasoning'
            and m.attributes->>'request_id' = b.id::text) as concluded
    from agent.boards b join agent.board_entries ended on ended.board = b.number
    where ended.level = '{RUN}' and ended.key = 'memory' and ended.value ? 'quality'
        -- What an erased user left is gone with them.
        and not exists (select from agent.board_events v
            where v.board = b.number and v.user_id = :erased)
    order by b.number desc
    """
)


def runs_reach_memory(conn: sa.Connection, _: None) -> Finding:
    """V65: each run that cited a corpus left observations and a conclusion."""
    runs = conn.execute(_RUNS, {"erased": ERASED}).all()
    citing = [run for run in runs if run.cited]
    without = [str(run.id) for run in citing if not (run.observed and run.concluded)]
    return Finding(
        not without,
        expected="an observation and a conclusion in memory of each run that cites a corpus",
        observed=f"{len(without):,} of {len(citing):,} runs left none; "
        f"{sum(run.observed for run in runs):,} observations and "
        f"{sum(run.concluded for run in runs):,} conclusions of {len(runs):,} runs",
        evidence={"runs": len(runs), "citing": len(citing), "without": without[:_SHOWN]},
    )


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=65,
        name="v65_runs_of_research_reach_memory",
        title="Every run of research that cites a corpus left what it observed and concluded in "
        "memory.",
        fix="call the hooks of `memory.hooks` in the transaction that notes the phase",
        where="`memos/agent/boards`",
        reads="boards whose run noted its memory phase, what their syntheses cite, and the "
        "observations and conclusions of the run in `agent.memories`",
        when_failed="The remediation plan's line *`_add_to_semantic_memory()` called in logs*. The "
        "run noted that its hooks were called, and nothing of it is there: it was deleted, or the "
        "hooks were not called in the transaction of the note.",
        subjects=boards_asset,
        judge=by_connection(runs_reach_memory),
        group="boards",
    ),
)
