"""Read the sets: labelled pairs, pairs with an original, and questions by intent."""

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eval.question_sets import EvalError
from memos_assets.cache.calibration import LabelledPair

QUESTIONS: Final = "qqp/qqp6000_calibration.json.gz"
TRAPS: Final = "traps"
ONE_WORD: Final = "breaking_nli/dataset.jsonl.gz"
ORIGINALS: Final = "gptcache/gptcache_mock.json.gz"
INTENTS: Final = ("banking77/banking77_train.csv.gz", "banking77/banking77_test.csv.gz")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled pair and the group that it is counted in."""

    pair: LabelledPair
    group: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A question and its intent."""

    text: str
    intent: str


def questions(data: Path) -> list[LabelledPair]:
    """Return pairs of questions, labelled duplicate or not."""
    return [
        LabelledPair(row["a"], row["b"], same=bool(row["dup"])) for row in _json(data / QUESTIONS)
    ]


def traps(data: Path) -> list[Labelled]:
    """Return pairs most of which look alike and differ; every file of the folder is one set."""
    return [one for path in sorted((data / TRAPS).glob("*.json")) for one in _traps(path)]


def _traps(path: Path) -> Iterator[Labelled]:
    for row in _json(path):
        if "pairs" in row:
            for pair in row["pairs"]:
                yield Labelled(LabelledPair(pair["a"], pair["b"], same=False), path.stem)
        else:
            pair = LabelledPair(row["cached"], row["query"], same=bool(row["hit"]))
            yield Labelled(pair, path.stem)


def one_word(data: Path) -> list[Labelled]:
    """Return sentences that differ in a word or phrase, by the category of that word.

    A contradiction is different, an entailment by a synonym is the same; others are left out: an
    entailment by a broader word holds in one direction only.
    """
    found = []
    for row in _lines(data / ONE_WORD):
        synonym = row["category"] == "synonyms" and row["gold_label"] == "entailment"
        if synonym or row["gold_label"] == "contradiction":
            pair = LabelledPair(row["sentence1"], row["sentence2"], same=synonym)
            found.append(Labelled(pair, row["category"]))
    return found


def originals(data: Path) -> list[tuple[str, str]]:
    """Return (original, reworded) texts."""
    return [(row["origin"], row["similar"]) for row in _json(data / ORIGINALS)]


def intents(data: Path) -> tuple[list[Asked], list[Asked]]:
    """Return known and new questions with their intents."""
    known, new = (
        [Asked(row["text"], row["category"]) for row in csv.DictReader(_text(data / part))]
        for part in INTENTS
    )
    return known, new


def _json(path: Path) -> Any:
    try:
        return json.loads("".join(_text(path)))
    except ValueError as error:
        raise EvalError(f"{path} is not JSON: {error}") from error


def _lines(path: Path) -> Iterator[Any]:
    for line in _text(path):
        yield json.loads(line)


def _text(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            yield from lines
    except OSError as error:
        raise EvalError(f"{path} cannot be read: {error}") from error
