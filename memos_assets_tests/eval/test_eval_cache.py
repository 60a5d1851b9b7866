"""The evaluation of the cache counts what is served, in folders of the published form."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from eval.cache import command, measure, sets
from eval.cache.vectors import VectorsOfTexts
from eval.question_sets import EvalError
from memos_assets.cache.calibration import LabelledPair
from memos_assets.cache.gate import rules_for
from memos_assets.search.embed import DeterministicEmbedder, Vectors

ANSWERS = rules_for("answers")


def _written(folder: Path) -> Path:
    """Write a folder of sets in the form of the published ones, with texts of our own."""
    for part in (sets.QUESTIONS, sets.ONE_WORD, sets.ORIGINALS, *sets.INTENTS, "traps/x"):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
    numbers = range(40)
    pairs = [
        {"a": f"How is part x{n} made", "b": f"How is part x{n} made?", "dup": n % 2 == 0}
        for n in numbers
    ]
    _zip(folder / sets.QUESTIONS, json.dumps(pairs))
    words = [("synonyms", "entailment", "bicycle"), ("colors", "contradiction", "green")]
    rows = [
        {"sentence1": f"A {a} bike", "sentence2": f"A {b}", "category": c, "gold_label": label}
        for c, label, b in words
        for a in ("red",)
    ]
    _zip(folder / sets.ONE_WORD, "\n".join(json.dumps(row) for row in rows))
    mock = [
        {"origin": f"The part x{n} is old.", "similar": f"the part x{n} is old"} for n in range(303)
    ]
    _zip(folder / sets.ORIGINALS, json.dumps(mock))
    traps = [
        {"cached": "Is it on?", "query": "Is it off?", "hit": False},
        {"cached": "Is the lamp on", "query": "Is the lamp on?", "hit": True},
    ]
    (folder / "traps/one.json").write_text(json.dumps(traps))
    (folder / "traps/two.json").write_text(
        json.dumps([{"category": "x", "pairs": [{"a": "Do I buy it?", "b": "Do I sell it?"}]}])
    )
    for part, end in zip(sets.INTENTS, ("", "?"), strict=True):
        with gzip.open(folder / part, "wt", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("text", "category"))
            writer.writerows((f"where is the x{n} shop{end}", f"shop {n}") for n in range(5))
    return folder


def _zip(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def test_every_table_is_measured(tmp_path: Path) -> None:
    data = _written(tmp_path)
    of = VectorsOfTexts(DeterministicEmbedder(64))
    tables = {sheet.name: sheet for sheet in command.sheets(data, of, "deterministic", 0.05)}
    assert list(tables) == [
        *("cache-questions", "cache-traps", "cache-words", "cache-originals"),
        *("cache-replay", "cache-repeats"),
    ]
    for sheet in tables.values():
        assert all(len(row) == len(sheet.columns) for row in sheet.rows)
    # Pairs that differ in a question mark alone are served, duplicates or not.
    questions = {(row[0], row[1]): row for row in tables["cache-questions"].rows}
    assert questions["gate, answers", "0.880"][4:] == ("1.000", "1.0000")
    traps = {row[0]: row[2:] for row in tables["cache-traps"].rows}
    assert traps["one, gate, answers"] == ("0 of 1", "1 of 1")
    assert traps["two, gate, answers"] == ("0 of 1", "0 of 0")
    assert tables["cache-originals"].rows[2][2:] == ("3", "0")
    assert tables["cache-replay"].rows[2][2:] == ("100.0%", "0.0%", "0.0%", "0.0%")
    hits, exact = (float(cell.rstrip("%")) for cell in tables["cache-repeats"].rows[0][2:4])
    assert hits == exact > 99


def test_a_wrong_winner_counts_as_wrong_and_a_refused_one_by_its_rule() -> None:
    known = [sets.Asked("where is box 7", "a"), sets.Asked("where is the red box", "b")]
    new = [sets.Asked("Where is box 8?", "a"), sets.Asked("Where is the red box?", "c")]
    found = (np.array([0, 1]), np.array([0.99, 0.99]))
    replayed = measure.replay_known(known, new, found, 0.9, ANSWERS)
    assert (replayed.right, replayed.wrong, dict(replayed.by_rule)) == (0, 1, {"numbers": 1})
    assert (replayed.hit_rate, replayed.wrong_share, replayed.wrong_rate) == (0.5, 1.0, 0.5)
    alone = measure.replay_known(known, new, found, 0.9, None)
    assert (alone.right, alone.wrong) == (1, 1)
    assert measure.replay_known(known, new, found, 0.995, None).hit_rate == 0.0


def test_precision_is_that_of_as_many_duplicates_as_others() -> None:
    pairs = [LabelledPair(f"is x{n} ok", f"Is x{n} ok?", same=n < 10) for n in range(40)]
    cosines = np.where(np.arange(40) % 2 == 0, 0.9, 0.5)
    found = measure.served(pairs, cosines, 0.8, None)
    assert (found.recall, found.false_share) == (0.5, 0.5)
    assert (found.precision, found.plain_precision) == (0.5, 0.25)


def test_vectors_are_kept_for_the_next_run(tmp_path: Path) -> None:
    class Once(DeterministicEmbedder):
        calls = 0

        def embed(self, texts: Sequence[str]) -> Vectors:
            self.calls += 1
            return super().embed(texts)

    kept, embedder = tmp_path / "kept" / "v.npz", Once(16)
    first = VectorsOfTexts(embedder, kept).of(["one", "two"])
    again = VectorsOfTexts(embedder, kept).of(["two", "one"])
    assert embedder.calls == 1
    assert np.array_equal(first[::-1], again)
    assert np.linalg.norm(first, axis=1) == pytest.approx([1, 1], abs=1e-6)


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvalError, match="qqp"):
        sets.questions(tmp_path)
