"""The evaluation of contradictions counts what is surfaced, in folders of the published form."""

import gzip
import json
from pathlib import Path

import pytest

from eval.contradictions import command, measure, sets
from eval.question_sets import EvalError


def _written(folder: Path) -> Path:
    """Write a folder of sets in the form of the published ones, with texts of our own."""
    for part in (sets.ONE_WORD, sets.CHATS):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
    words = [("colors", "contradiction", "green coat"), ("synonyms", "entailment", "red jacket")]
    rows = [
        {
            "sentence1": "A man in a red coat waits.",
            "sentence2": f"A man in a {words_there} waits.",
            "category": category,
            "gold_label": label,
        }
        for category, label, words_there in words * 4
    ]
    _zip(folder / sets.ONE_WORD, "\n".join(json.dumps(row) for row in rows))
    said = ["The tank holds 4 litres.", "Is it full?", "The tank holds 9 litres.", "Good."]
    turns = [
        {
            "conv": 0,
            "id": f"D1:{n}",
            "session": 1,
            "date": "1:56 pm on 8 May, 2023",
            "speaker": "Yusuf" if n < 3 else "Marta",
            "text": text,
        }
        for n, text in enumerate(said)
    ]
    _zip(folder / sets.CHATS, json.dumps({"turns": turns, "qs": []}))
    return folder


def _zip(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def test_halves_of_one_word_pairs_are_counted(tmp_path: Path) -> None:
    seen, kept = sets.one_word(_written(tmp_path))
    assert len(seen) == len(kept) == 4
    found = measure.counted([*seen, *kept])
    assert (found.right, found.gold, found.wrong, found.others) == (4, 4, 0, 4)
    assert (found.precision, found.recall, found.f1) == (1.0, 1.0, 1.0)


def test_alarms_are_of_two_turns_of_one_speaker(tmp_path: Path) -> None:
    groups = sets.chats(_written(tmp_path))
    assert [len(group) for group in groups] == [3, 1]
    found = measure.alarms(groups)
    assert (found.pairs, found.surfaced, found.sentences, found.involved) == (3, 1, 2, 2)


def test_sick_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "sick.txt"
    head = "pair_ID\tsentence_A\tsentence_B\tentailment_label\n"
    path.write_text(head + "1\tA man sings\tThere is no man singing\tCONTRADICTION\n")
    (pair,) = sets.sick(path)
    assert measure.said_of(pair) == pair.label == sets.CONTRADICTION
    path.write_text(head.replace("entailment_label", "label"))
    path.write_text(path.read_text() + "1\tA\tB\tNEUTRAL\n")
    with pytest.raises(EvalError, match="entailment_label"):
        sets.sick(path)


def test_a_set_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match=r"breaking_nli.* cannot be read"):
        sets.one_word(tmp_path)
    broken = tmp_path / "x.jsonl"
    broken.write_text('{"a": "x"}\n')
    with pytest.raises(EvalError, match="line 1"):
        sets.own(broken)


def test_every_number_is_shown_with_its_count(tmp_path: Path) -> None:
    data = _written(tmp_path)
    own = sets.own()[::20]
    chats = sets.chats(data)
    shown = [
        *command.one_word_sheets(data),
        *command.own_sheets(own),
        *command.sick_sheets(None),
        *command.alarm_sheets(chats),
        *command.candidate_sheets(own, chats, None),
    ]
    text = "\n".join(sheet.markdown() for sheet in shown)
    assert "of" in text
    assert [sheet.name for sheet in shown] == [
        *("contradictions-one-word", "contradictions-chat", "contradictions-updates"),
        *("contradictions-alarms", "contradictions-candidates"),
    ]
