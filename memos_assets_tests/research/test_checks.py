"""V65: a run whose observations are gone is named."""

import pytest
import sqlalchemy as sa

from memos_assets.blackboard.checks import searches_recorded_findings
from memos_assets.research.checks import runs_reach_memory
from memos_assets_tests.research.conftest import QUESTION, Corpus


def test_a_run_records_its_findings_as_those_of_its_search(corpus: Corpus, user: str) -> None:
    corpus.run(lambda research: research.ask(QUESTION, user=user))
    with corpus.engine.connect() as conn:
        found = searches_recorded_findings(conn, None)
    assert found.evidence["searches"] >= 1
    assert found.passed, found.observed


@pytest.mark.parametrize("kind", ["observation", "reasoning"])
def test_v65_runs_of_research_reach_memory_fails_when_the_hooks_left_nothing(
    corpus: Corpus, user: str, kind: str
) -> None:
    answer = corpus.run(lambda research: research.ask(QUESTION, user=user))
    with corpus.engine.connect() as conn:
        found = runs_reach_memory(conn, None)
        assert found.passed, found.observed
        assert found.evidence["citing"] >= 1
        conn.execute(
            sa.text("delete from agent.memories where user_id = :user and kind = :kind"),
            {"user": user, "kind": kind},
        )
        found = runs_reach_memory(conn, None)
    assert not found.passed
    assert found.evidence["without"] == [str(answer.board)]
