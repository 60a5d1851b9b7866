"""A question set is measured through the public interface, and beside the run before."""

import gzip
import json
from pathlib import Path

import pytest

from eval import command
from eval.measure import FUSED, measure
from eval.question_sets import EvalError, read_locomo, read_set
from eval.world import opened_world
from memos_assets.memory.quality import Run
from memos_assets.search.embed import DeterministicEmbedder


def test_our_own_set_is_measured_by_ranking_and_category(tmp_path: Path) -> None:
    notes = read_set(command.SETS / "notes.jsonl")
    assert sum(len(group.memories) for group in notes.groups) >= 60
    assert sum(len(group.questions) for group in notes.groups) >= 30
    with opened_world(DeterministicEmbedder(128)) as world:
        measured = measure(world, notes)
    by_ranking, by_category = command.sheets(notes, measured)
    assert [row[0] for row in by_ranking.rows] == ["meaning alone", "words alone", "both", FUSED]
    categories = {row[0]: float(row[3]) for row in by_category.rows}
    assert {"correction", "dated", "paraphrase", "german"} <= set(categories)
    # Values that were ended are left out whatever the ranking is, and are all that was true then.
    assert categories["correction"] == categories["dated"] == 1.0
    assert "p50" in command.latency(measured)
    run = Run("deterministic", tuple(measured.scores[FUSED]))
    path = tmp_path / "notes.json"
    assert "No run" in command.compared(path, run)
    path.write_text(json.dumps(run.to_json()))
    assert command.compared(path, run).count("no difference") == 2
    path.write_text("[]")
    assert "cannot be read" in command.compared(path, run)


def test_locomo_in_its_flat_form_is_read(tmp_path: Path) -> None:
    turn = {"session": 1, "date": "1:56 pm on 8 May, 2023", "speaker": "Ann"}
    value = {
        "turns": [
            {"conv": 0, "id": "D1:1", "text": "I bought a boat.", **turn},
            {"conv": 1, "id": "D1:1", "text": "Nice.", **turn},
        ],
        "qs": [
            {"conv": 0, "q": "What did Ann buy?", "cat": 4, "ev": ["D1:1"]},
            {"conv": 0, "q": "Is it red?", "cat": 5, "ev": ["D1:1"]},
            {"conv": 1, "q": "Why?", "cat": 3, "ev": []},
        ],
    }
    path = tmp_path / "two.json.gz"
    path.write_bytes(gzip.compress(json.dumps(value).encode()))
    read = read_locomo(path)
    assert read.name == "two"
    assert [memory.text for memory in read.groups[0].memories] == ["Ann: I bought a boat."]
    assert read.groups[0].memories[0].about["source"] == "session:1"
    assert [q.category for group in read.groups for q in group.questions] == ["single-hop"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("{", "line 1: neither"),
        ('{"text": "no id"}', "line 1: neither"),
        ('{"id": "m", "text": "a"}', "no question"),
        ('{"question": "a?", "evidence": []}', "line 1: neither"),
        ('{"question": "a?", "evidence": ["m"]}', "evidence m is not a memory"),
    ],
)
def test_a_set_that_cannot_be_read_says_where(tmp_path: Path, lines: str, said: str) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(lines)
    with pytest.raises(EvalError, match=said):
        read_set(path)
    with pytest.raises(EvalError, match="not LoCoMo"):
        read_locomo(path)
    with pytest.raises(EvalError, match="cannot be read"):
        read_set(tmp_path / "absent.jsonl")
