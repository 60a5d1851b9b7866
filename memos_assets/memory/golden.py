"""Golden queries: questions whose evidence is known, asked of a database as agents ask.

A set brings memories of its own, which are remembered and forgotten in the caller's transaction, or
is about what a user remembers. Nothing that is returned holds a text or a user.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError, UsageError
from memos_assets.memory.facade import SyncMemory
from memos_assets.memory.moments import moment
from memos_assets.memory.prepared import Asked, Prepared
from memos_assets.memory.quality import DEPTHS, Question, Run, score
from memos_assets.memory.ranking import judged_query
from memos_assets.memory.recall import recall
from memos_assets.memory.remember import remember
from memos_assets.search.fusion import JudgedQuery
from memos_assets.settings import Settings

#: The set that the project ships.
SHIPPED: Final = Path(__file__).with_name("golden_queries.yaml")
#: Of a set with memories of its own; their private space is gone when the transaction is.
_USER: Final = "memos-assets:golden-queries"
_ABOUT: Final = frozenset(
    {"kind", "source", "subject", "attribute", "valid_from", "valid_until", "recorded_at"}
)


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """A set of golden queries.

    Attributes:
        name: of the set.
        user: whose memories are asked for.
        spaces: shared spaces that are searched, too.
        memories: arguments of `prepare` by their names, with ``id`` and ``text``; none: those that
            the user has.
        questions: with ids of memories as evidence, of the set or of the database.
    """

    name: str
    user: str
    spaces: tuple[str, ...]
    memories: tuple[Mapping[str, Any], ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Ready:
    """A set whose texts are embedded; no session was in use."""

    golden: GoldenSet
    model: str
    memories: tuple[Prepared, ...]
    asked: tuple[Asked, ...]


def configured(settings: Settings) -> GoldenSet:
    """Read the set that the settings name, or the one that the project ships.

    Raises:
        UsageError: M783, as `read_golden`.
    """
    path = settings.golden_queries
    return read_golden(SHIPPED if path is None else Path(path))


def read_golden(path: Path = SHIPPED) -> GoldenSet:
    """Read a set of golden queries from YAML.

    Raises:
        UsageError: M783 the file cannot be read, is not YAML, or does not have the form of the set
            that the project ships.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _wrong(path, f"it cannot be read ({reason})") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" in line {mark.line + 1}"
        raise _wrong(path, f"it is not YAML{where}") from None
    try:
        return _golden(content)
    except (KeyError, TypeError, ValueError, AttributeError, AgentError) as error:
        said = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
        raise _wrong(path, said) from None


def _golden(content: Any) -> GoldenSet:
    memories = tuple(dict(one) for one in content.get("memories") or ())
    known = [str(one["id"]) for one in memories]
    for one in memories:
        one["text"], one["id"] = str(one["text"]), str(one["id"])
        if unknown := set(one) - _ABOUT - {"id", "text"}:
            raise ValueError(f"a memory has {min(unknown)!r}, which is not of a memory")
    if len(set(known)) < len(known):
        raise ValueError("two memories have one id")
    questions = tuple(_question(one) for one in content["questions"])
    if not questions:
        raise ValueError("there is no question")
    for question in questions:
        if memories and (missing := set(question.evidence) - set(known)):
            raise ValueError(f"evidence {min(missing)!r} is not a memory of the set")
    return GoldenSet(
        str(content.get("name", "golden")),
        _USER if memories else str(content["user"]),
        tuple(map(str, content.get("spaces") or ())),
        memories,
        questions,
    )


def _question(value: Mapping[str, Any]) -> Question:
    evidence = value["evidence"]
    if not isinstance(evidence, list) or not evidence:
        raise ValueError("a question has no list of evidence")
    return Question(
        text=str(value["text"]),
        evidence=tuple(dict.fromkeys(map(str, evidence))),
        category=str(value.get("category", "all")),
        as_of=moment(value.get("as_of"), "as_of"),
        known_at=moment(value.get("known_at"), "known_at"),
    )


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(
        "M783",
        what,
        where=f"golden queries {path}",
        fix="write it as memos_assets/memory/golden_queries.yaml, or unset MEMOS_GOLDEN_QUERIES",
    )


def ready(golden: GoldenSet, memory: SyncMemory) -> Ready:
    """Embed the memories and the questions of a set. No session is in use.

    Raises:
        AgentError: M730 to M732, a memory that cannot be remembered.
    """
    items = [
        {name: value for name, value in one.items() if name != "id"} for one in golden.memories
    ]
    return Ready(
        golden,
        memory.model,
        tuple(memory.prepare_many(items)) if items else (),
        tuple(memory.query(question.text) for question in golden.questions),
    )


def measure(session: Session, memory: SyncMemory, prepared: Ready) -> Run:
    """Ask the questions of a set, and score the answers.

    Args:
        session: the caller's, who rolls back: memories of the set are in its transaction.
        memory: that prepared the set.
        prepared: from `ready`.

    Raises:
        AgentError: M702 a space is not one of the user's; M792 the model of the embedder is not
            the one that the database's embeddings are of.
    """
    golden = prepared.golden
    memory.act_as(session, user=golden.user, spaces=golden.spaces)
    ids = _remembered(session, prepared)
    scores = []
    for question, asked in zip(golden.questions, prepared.asked, strict=True):
        hits = recall(
            session, asked, k=max(DEPTHS), as_of=question.as_of, known_at=question.known_at
        )
        ranked = [known for hit in hits for known in ids.get(hit.id, (hit.id,))]
        scores.append(score(question, ranked))
    return Run(prepared.model, tuple(scores))


def judge(session: Session, memory: SyncMemory, prepared: Ready, folds: int) -> list[JudgedQuery]:
    """Return the scores of all memories for each question, by which weights are chosen.

    Questions whose evidence is not found by any weights are left out.

    Args:
        session: the caller's, who rolls back: memories of the set are in its transaction.
        memory: that prepared the set.
        prepared: from `ready`.
        folds: groups into which the questions are divided, the same in every run.

    Raises:
        AgentError: as `measure`.
    """
    golden = prepared.golden
    memory.act_as(session, user=golden.user, spaces=golden.spaces)
    ids = _remembered(session, prepared)
    stored = {given: memory_id for memory_id, known in ids.items() for given in known}
    found = []
    for question, asked in zip(golden.questions, prepared.asked, strict=True):
        evidence = {stored.get(one, one) for one in question.evidence}
        group = str(int(question.key, 16) % folds)
        judged = judged_query(session, asked, evidence, group)
        if judged is not None:
            found.append(judged)
    return found


def _remembered(session: Session, prepared: Ready) -> Mapping[str, Sequence[str]]:
    """Remember the memories of a set; return id of a memory -> its ids in the set."""
    if not prepared.memories:
        return {}
    kept = remember(session, list(prepared.memories))
    assert isinstance(kept, list)
    ids: dict[str, list[str]] = {}
    for given, one in zip(prepared.golden.memories, kept, strict=True):
        ids.setdefault(one.id, []).append(given["id"])
    return ids
