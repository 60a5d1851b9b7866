"""Golden queries: the shipped set, sets of others, and V41 on a real database."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.errors import UsageError
from memos_assets.memory import SyncMemory, golden
from memos_assets.memory.models import ensure_registered
from memos_assets.memory.quality import Run, Score
from memos_assets.memory.quality_checks import judged, quality_is_not_below_the_last
from memos_assets.search.embed import DeterministicEmbedder
from memos_assets.settings import Settings


def rows(engine: sa.Engine) -> list[int]:
    with engine.connect() as conn:
        return [
            conn.execute(sa.text(f"select count(*) from agent.{table}")).scalar_one()
            for table in ("memories", "spaces", "postings", "word_counts", "links", "outbox")
        ]


def write(folder: Path, text: str) -> Path:
    path = folder / "golden.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_shipped_queries_are_answered_by_words_alone_and_leave_nothing(
    engine: sa.Engine, settings: Settings
) -> None:
    before = rows(engine)
    finding = quality_is_not_below_the_last(CheckContext(engine, MEMOS, settings), None)
    assert finding.passed
    assert finding.evidence["questions"] >= 20
    # Words alone answer codes, names and what was true when; what is said otherwise they miss.
    assert finding.evidence["recall_at_10"] > 0.6
    assert finding.evidence["model"] == "words alone"
    assert "Anna" not in str(finding)
    assert rows(engine) == before == [0] * 6


def test_dates_of_the_shipped_queries_decide(engine: sa.Engine, settings: Settings) -> None:
    memory = SyncMemory(settings)
    prepared = golden.ready(golden.read_golden(), memory)
    with Session(engine) as session:
        run = golden.measure(session, memory, prepared)
    dated = [one for one in run.scores if one.category in ("temporal", "update")]
    assert len(dated) == 4
    assert [one.found[5] for one in dated] == [1, 1, 1, 1]


def test_a_set_about_a_users_memories_is_asked_as_the_user(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    embedder = DeterministicEmbedder(64)
    ensure_registered(engine, embedder)
    memory = SyncMemory(settings, embedder=embedder)
    with Session(engine) as session, session.begin():
        memory.act_as(session, user="ann")
        kept = memory.remember(session, memory.prepare("Fuse F1 is slow."))
        memory.act_as(session, user="bob")
        other = memory.remember(session, memory.prepare("Fuse F1 is fast."))
    path = write(
        tmp_path,
        f"user: ann\nquestions:\n- {{text: Fuse F1, evidence: [{kept.id}]}}\n"
        f"- {{text: Fuse F1, evidence: [{other.id}], category: of Bob}}\n",
    )
    with Session(engine) as session:
        run = golden.measure(session, memory, golden.ready(golden.read_golden(path), memory))
    assert [one.reciprocal_rank for one in run.scores] == [1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no attribute"),
        ("questions: [", "it is not YAML in line 1"),
        ("user: ann\nquestions: []", "there is no question"),
        ("user: ann", "questions is missing"),
        ("questions: [{text: a, evidence: [b]}]", "user is missing"),
        ("user: ann\nquestions: [{text: a}]", "evidence is missing"),
        ("user: ann\nquestions: [{text: a, evidence: []}]", "no list of evidence"),
        ("user: ann\nquestions: [{text: a, evidence: b}]", "no list of evidence"),
        ("user: u\nquestions: [{text: a, evidence: [b], as_of: 2026-01-01 10:00:00}]", "M731"),
        (
            "memories: [{id: a, text: b}]\nquestions: [{text: a, evidence: [c]}]",
            "'c' is not a memory",
        ),
        ("memories: [{id: a, text: b, kin: c}]\nquestions: []", "has 'kin'"),
        ("memories: [{id: a, text: b}, {id: a, text: c}]\nquestions: []", "have one id"),
        ("!!python/object/apply:os.getcwd []", "it is not YAML"),
    ],
)
def test_a_file_that_is_not_a_set_is_refused_in_one_line(
    tmp_path: Path, text: str, said: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        golden.read_golden(path)
    assert str(caught.value).startswith(f"M783 golden queries {path}: ")
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_fails_v41_and_keeps_the_baseline(
    engine: sa.Engine, settings: Settings, tmp_path: Path
) -> None:
    changed = settings.model_copy(update={"golden_queries": tmp_path / "none.yaml"})
    finding = quality_is_not_below_the_last(CheckContext(engine, MEMOS, changed), None)
    assert not finding.passed
    assert finding.observed.startswith("M783 ")


def run_of(*found: int) -> Run:
    return Run("m", tuple(Score(str(n), "all", 1, {10: f}, float(f)) for n, f in enumerate(found)))


def test_v41_memory_quality_is_not_below_the_last_fails_where_questions_are_lost() -> None:
    before = run_of(*[1] * 20)
    worse = judged(run_of(*[0] * 8, *[1] * 12), before)
    assert not worse.passed
    assert "recall differs by -0.400" in worse.observed
    # The next run is compared with the good one again, until somebody accepts another.
    assert Run.from_json(worse.evidence["baseline"]) == before
    again = judged(run_of(*[0] * 8, *[1] * 12), Run.from_json(worse.evidence["baseline"]))
    assert not again.passed


def test_v41_passes_by_the_choice_of_questions_and_takes_the_run_as_the_next_baseline() -> None:
    near = run_of(0, *[1] * 19)
    finding = judged(near, run_of(*[1] * 20))
    assert finding.passed
    assert Run.from_json(finding.evidence["baseline"]) == near
    first = judged(near, None)
    assert (first.passed, first.expected) == (True, "the first run of these questions")
