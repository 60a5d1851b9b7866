"""Question sets: memories to remember, and questions about them with their evidence.

A set is a JSONL file of two kinds of lines. Lines of one ``group`` are of one user, who sees
nothing of the others.

    {"id": "m1", "text": "...", "group": "g", "source": "chat:1", "subject": ..., "attribute": ...,
     "valid_from": ..., "valid_until": ..., "recorded_at": ...}
    {"question": "...", "evidence": ["m1"], "category": "...", "group": "g", "as_of": ...,
     "known_at": ...}
"""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from memos_assets.memory.moments import moment
from memos_assets.memory.quality import Question

#: What a line of a memory hands on to `Memory.prepare`.
ABOUT: Final = (
    *("kind", "source", "subject", "attribute", "valid_from", "valid_until", "recorded_at"),
)


class EvalError(Exception):
    """A set that cannot be read, or a run that cannot be made."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory of a set: its id, its text, and arguments of `prepare`."""

    id: str
    text: str
    about: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """What one user remembers, in this order, and the questions about it."""

    name: str
    memories: Sequence[Memory]
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """A set by its name."""

    name: str
    groups: Sequence[Group]


def read_set(path: Path) -> QuestionSet:
    """Read a JSONL file, compressed or not.

    Raises:
        EvalError: a line that is neither kind, or evidence that is not a memory of its group.
    """
    memories: dict[str, list[Memory]] = {}
    questions: dict[str, list[Question]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            group = str(value.get("group", "all"))
            if "question" in value:
                questions.setdefault(group, []).append(_question(value))
            else:
                about = {name: value[name] for name in ABOUT if value.get(name) is not None}
                memories.setdefault(group, []).append(
                    Memory(str(value["id"]), value["text"], about)
                )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise EvalError(
                f"{path}, line {number}: neither a memory nor a question ({error!r}). "
                "Fix: see eval/question_sets.py"
            ) from None
    groups = [
        Group(name, memories.get(name, []), questions.get(name, []))
        for name in {**memories, **questions}
    ]
    _check(path, groups)
    return QuestionSet(path.name.partition(".")[0], groups)


def _check(path: Path, groups: Sequence[Group]) -> None:
    if not any(group.questions for group in groups):
        raise EvalError(f"{path} has no question. Fix: add lines with a question and evidence")
    for group in groups:
        known = {memory.id for memory in group.memories}
        for question in group.questions:
            if missing := set(question.evidence) - known:
                raise EvalError(
                    f"{path}, group {group.name}: evidence {sorted(missing)[0]} is not a memory. "
                    "Fix: correct the id"
                )


def _question(value: Mapping[str, Any]) -> Question:
    if not value["evidence"]:
        raise ValueError("a question without evidence")
    return Question(
        text=value["question"],
        evidence=tuple(dict.fromkeys(map(str, value["evidence"]))),
        category=str(value.get("category", "all")),
        as_of=moment(value.get("as_of"), "as_of"),
        known_at=moment(value.get("known_at"), "known_at"),
    )


#: Categories of LoCoMo by their numbers; of the last one the answer is that there is none.
_CATEGORIES: Final = {1: "multi-hop", 2: "temporal", 3: "open", 4: "single-hop"}


def read_locomo(path: Path) -> QuestionSet:
    """Read conversations of LoCoMo in their flat form: ``turns`` and ``qs``.

    A memory is a turn, with its speaker; a source is a session; a group is a conversation.
    Adversarial questions and those without evidence are left out.

    Raises:
        EvalError: the file has another form.
    """
    try:
        value = json.loads(_text(path))
        groups = {str(turn["conv"]): list(_turns(value, turn["conv"])) for turn in value["turns"]}
        return QuestionSet(
            path.name.partition(".")[0],
            [Group(conv, turns, list(_asked(value, conv))) for conv, turns in groups.items()],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EvalError(
            f"{path} is not LoCoMo in its flat form ({error!r}). Fix: pass JSON with turns and qs"
        ) from None


def _turns(value: Mapping[str, Any], conv: Any) -> Iterator[Memory]:
    for turn in value["turns"]:
        if turn["conv"] == conv:
            said = datetime.strptime(turn["date"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
            about = {
                "source": f"session:{turn['session']}",
                "kind": "observation",
                "recorded_at": min(said, datetime.now(UTC)),
            }
            yield Memory(turn["id"], f"{turn['speaker']}: {turn['text']}", about)


def _asked(value: Mapping[str, Any], conv: str) -> Iterator[Question]:
    for asked in value["qs"]:
        if str(asked["conv"]) == conv and asked["cat"] in _CATEGORIES and asked["ev"]:
            yield Question(
                text=asked["q"],
                evidence=tuple(dict.fromkeys(asked["ev"])),
                category=_CATEGORIES[asked["cat"]],
            )


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EvalError(f"{path} cannot be read ({error.strerror}). Fix: name a file") from None
    try:
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    except (ValueError, OSError, EOFError):
        raise EvalError(f"{path} is not text in UTF-8. Fix: name a JSON or JSONL file") from None
