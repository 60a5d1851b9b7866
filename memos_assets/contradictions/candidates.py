"""Stage one: which statements may contradict a statement, so that few pairs are compared.

Statements of the same subject and attribute come first. The others are ranked by the words that
their topics share (BM25), by the meaning of the whole if vectors are given, and by what the
detectors say of the best of them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import log
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from memos_assets.contradictions.clause import clauses, merged
from memos_assets.contradictions.detection import detect, folded
from memos_assets.contradictions.lists import lists
from memos_assets.contradictions.sentences import asserted
from memos_assets.contradictions.statement import Contradiction, Statement
from memos_assets.errors import AgentError
from memos_assets.language.lexicon import lexicon
from memos_assets.language.reading import language_of
from memos_assets.search.bm25 import K1
from memos_assets.search.fusion import DEFAULT

Vector = npt.NDArray[np.floating]
#: Says whether two statements contradict each other, as `detect` does.
Compare = Callable[[Statement, Statement], Contradiction | None]
#: Own vector, float, (dimension,), and those of the others, (others, dimension).
Vectors = tuple[Vector, Vector]

SAME_ATTRIBUTE: Final = "subject and attribute"
NEAREST: Final = "words"
NEAREST_BY_MEANING: Final = "words and meaning"
#: Statements are short, so their length counts less than that of documents.
_B: Final = 0.4
#: What a common synonym counts beside the word itself, and a word that tells little of a topic.
_SYNONYM: Final = 0.4
_LITTLE: Final = 0.3
#: Of the nearest so many, those that a detector finds something in come forward by so much.
_COMPARED: Final = 40
_FOUND: Final = 0.6
_WORD: Final = re.compile(r"[^\W_]+(?:[.'+#-][^\W_]+)*[+#]*")
_KEPT_TEXTS: Final = 50_000


class Candidate(NamedTuple):
    """A statement that may contradict another one.

    Attributes:
        statement: it.
        place: of it among the statements that were handed over.
        score: the greater, the nearer; comparable within one call.
        why: `SAME_ATTRIBUTE`, `NEAREST` or `NEAREST_BY_MEANING`.
    """

    statement: Statement
    place: int
    score: float
    why: str


def candidates(
    statement: Statement,
    others: Sequence[Statement],
    *,
    vectors: Vectors | None = None,
    k: int = 10,
    compare: Compare = detect,
) -> list[Candidate]:
    """Return the statements that may contradict one, the likeliest first.

    Never the statement itself, another one of the same source, or of another subject.

    Args:
        statement: that is new.
        others: that there are.
        vectors: of the statement, and of the others in their order, by one model; of any length.
        k: at most so many, beside all of the same subject and attribute.
        compare: in place of `detect`, such as one that compares no pair twice.

    Raises:
        AgentError: M902, vectors whose shapes do not fit.
    """
    allowed = [n for n, other in enumerate(others) if _may(statement, other)]
    if not allowed:
        return []
    meaning = _cosines(vectors, len(others)) if vectors is not None else None
    words = _words(statement, others, allowed)
    scores = DEFAULT.words * words
    if meaning is not None:
        scores = scores + DEFAULT.meaning * (meaning[allowed] - DEFAULT.unrelated)
        near = np.ones(len(allowed), bool)
    else:
        near = words > 0
    why = NEAREST if meaning is None else NEAREST_BY_MEANING
    order = np.argsort(-scores, kind="stable")[: max(k, _COMPARED)]
    ranked: list[Candidate] = []
    for place in order:
        other = others[allowed[place]]
        found = compare(statement, other)
        if found is None and not near[place]:
            continue
        score = float(scores[place]) + (_FOUND * found.score if found else 0.0)
        ranked.append(Candidate(other, allowed[place], score, why))
    ranked.sort(key=lambda one: (-one.score, one.place))
    first = [
        Candidate(others[n], n, float(score), SAME_ATTRIBUTE)
        for n, score in zip(allowed, scores, strict=True)
        if _same_attribute(statement, others[n])
    ]
    first.sort(key=lambda one: (-one.score, one.place))
    taken = {one.place for one in first}
    return first + [one for one in ranked if one.place not in taken][:k]


def _may(statement: Statement, other: Statement) -> bool:
    if other is statement or (statement.id is not None and other.id == statement.id):
        return False
    if statement.source is not None and other.source == statement.source:
        return False
    if statement.subject and other.subject:
        return folded(statement.subject) == folded(other.subject)
    return True


def _same_attribute(statement: Statement, other: Statement) -> bool:
    if not (statement.subject and other.subject and statement.attribute and other.attribute):
        return False
    return folded(statement.attribute) == folded(other.attribute)


def _cosines(vectors: Vectors, count: int) -> npt.NDArray[np.float64]:
    own, theirs = (np.asarray(rows, np.float32) for rows in vectors)
    if own.ndim != 1 or theirs.shape != (count, own.shape[0]):
        raise AgentError(
            "M902",
            f"vectors have the shapes {own.shape} and {theirs.shape}",
            where=f"candidates among {count:,} statements",
            fix="hand over (own, theirs) of the shapes (dimension,) and (statements, dimension)",
        )
    lengths = np.linalg.norm(theirs, axis=1) * np.linalg.norm(own)
    cosines = (theirs @ own) / np.where(lengths > 0, lengths, 1.0)
    return np.nan_to_num(cosines).astype(np.float64)


def _words(
    statement: Statement, others: Sequence[Statement], allowed: Sequence[int]
) -> npt.NDArray[np.float64]:
    """Return BM25 of the topic of a statement, divided by the sum of the IDF of its words."""
    topic = _topic(statement)
    language = statement.language or _language(statement.text)
    documents = [_counts(others[n].text, language) for n in allowed]
    lengths = np.array([size for _, size in documents], np.float64)
    half = K1 * (1 - _B + _B * lengths / max(lengths.mean(), 1.0))
    total = np.zeros(len(allowed))
    whole = 0.0
    for stem, (weight, alike) in topic.items():
        found = np.zeros(len(allowed))
        for place, (counts, _) in enumerate(documents):
            if stem in counts:
                found[place] = counts[stem]
            elif alike and not alike.isdisjoint(counts):
                found[place] = -1.0
        frequency = float((found > 0).sum())
        idf = weight * log(1 + (len(allowed) - frequency + 0.5) / (frequency + 0.5))
        whole += idf
        here = found > 0
        total[here] += idf * found[here] * (K1 + 1) / (found[here] + half[here])
        synonym = found < 0
        total[synonym] += _SYNONYM * idf * (K1 + 1) / (1.0 + half[synonym])
    return total / whole if whole else total


@lru_cache(maxsize=1_000)
def _language(text: str) -> str:
    return language_of(text.split()) or "en"


def _topic(statement: Statement) -> Mapping[str, tuple[float, frozenset[str]]]:
    """Return stem -> weight and synonyms, of the words that tell what a statement is about."""
    language = statement.language or _language(statement.text)
    words, own = lexicon(language), lists(language)
    found: dict[str, tuple[float, frozenset[str]]] = {}
    for text in _WORD.findall(statement.text.lower()):
        word = words.word(text)
        if not word.content or word.stem in own.light:
            continue
        weight = _LITTLE if word.stem in own.generic else 1.0
        found[word.stem] = weight, _synonyms(language, word.synonyms) - {word.stem}
    return found


@lru_cache(maxsize=10_000)
def _synonyms(language: str, groups: frozenset[int]) -> frozenset[str]:
    by_group = lexicon(language).synonyms
    return frozenset(stem for group in groups for stem in by_group.get(group, ()))


@lru_cache(maxsize=_KEPT_TEXTS)
def _counts(text: str, language: str) -> tuple[Mapping[str, int], int]:
    """Return stem -> occurrences of a text, by a language's stems, and its number of words."""
    found = _WORD.findall(text.lower())
    return Counter(map(lexicon(language).stem, found)), len(found)


def forget() -> None:
    """Forget the texts that were read, such as after an erasure."""
    for kept in (_counts, _language, clauses, merged, asserted):
        kept.cache_clear()
