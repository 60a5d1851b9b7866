"""Read the sets: labelled pairs of statements, pairs of SICK, turns of ordinary chats, code."""

import csv
import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from eval.question_sets import EvalError, read_locomo
from memos_assets.contradictions import Statement

#: The set that is written here; each line is two statements with what is right to say of them.
OWN: Final = Path(__file__).parent.parent / "sets" / "contradictions.jsonl"
ONE_WORD: Final = "breaking_nli/dataset.jsonl.gz"
CHATS: Final = "locomo/locomo_conversations_0_to_4.json.gz"
CONTRADICTION, UPDATE, NONE = "contradiction", "update", "none"
#: Seed of the split of one-word pairs: words and rules were written with the first half in sight.
SEED: Final = 16


@dataclass(frozen=True, slots=True)
class Labelled:
    """Two statements, and what is right to say of them.

    Attributes:
        a, b: the statements; ``b`` is the later one.
        label: `CONTRADICTION`, `UPDATE` or `NONE`.
        group: that it is counted in.
        language: "en" or "de".
    """

    a: Statement
    b: Statement
    label: str
    group: str
    language: str = "en"


def own(path: Path = OWN) -> list[Labelled]:
    """Return the pairs of a JSONL file: a, b, label, kind, language, and a_from, b_from."""
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            a, b = (Statement(row[side], valid_from=_day(row.get(f"{side}_from"))) for side in "ab")
            found.append(Labelled(a, b, row["label"], row["kind"], row["language"]))
        except (ValueError, KeyError, TypeError) as error:
            raise EvalError(f"{path}, line {number}: {error}") from error
    return found


def _day(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def one_word(data: Path) -> tuple[list[Labelled], list[Labelled]]:
    """Return sentences that differ in one word, in two halves: the one in sight, the other."""
    labels = {"contradiction": CONTRADICTION, "entailment": NONE}
    pairs = []
    for line in _lines(data / ONE_WORD):
        row = json.loads(line)
        label = labels.get(row["gold_label"])
        # An entailment by a broader word holds in one direction; synonyms hold in both.
        if label == CONTRADICTION or (label == NONE and row["category"] == "synonyms"):
            a, b = Statement(row["sentence1"]), Statement(row["sentence2"])
            pairs.append(Labelled(a, b, label, row["category"]))
    places = list(range(len(pairs)))
    random.Random(SEED).shuffle(places)
    middle = len(places) // 2
    return [pairs[n] for n in places[:middle]], [pairs[n] for n in places[middle:]]


def sick(path: Path) -> list[Labelled]:
    """Return pairs of a table with sentence_A, sentence_B and entailment_label, tabs between."""
    rows = csv.DictReader(_lines(path), delimiter="\t")
    try:
        return [
            Labelled(
                Statement(row["sentence_A"]),
                Statement(row["sentence_B"]),
                CONTRADICTION if row["entailment_label"].upper() == "CONTRADICTION" else NONE,
                "SICK",
            )
            for row in rows
        ]
    except KeyError as error:
        raise EvalError(f"{path} has no column {error}") from error


def chats(data: Path) -> list[Sequence[Statement]]:
    """Return what each speaker says in each conversation."""
    found: list[Sequence[Statement]] = []
    for group in read_locomo(data / CHATS).groups:
        by_speaker: dict[str, list[Statement]] = {}
        for memory in group.memories:
            speaker, _, text = memory.text.partition(": ")
            by_speaker.setdefault(speaker, []).append(Statement(text, id=memory.id))
        found += by_speaker.values()
    return found


def code(root: Path) -> list[Statement]:
    """Return the lines of the modules below a folder, ten at a time, as statements."""
    found = []
    for path in sorted(root.rglob("*.py")):
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        found += [Statement("\n".join(lines[n : n + 10])) for n in range(0, len(lines), 10)]
    return found


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as lines:
            yield from lines
    except OSError as error:
        raise EvalError(f"{path} cannot be read: {error}") from error
