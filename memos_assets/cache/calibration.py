"""The threshold of a namespace and model, from labelled pairs: as low as its false hits allow.

A cosine means something else to every model and in every namespace. So a threshold is measured: the
smallest at which the share of different pairs that would be served after the gate, counted with
Wilson's upper bound, stays within a budget. With too few pairs it is the strict default. Pure but
for `calibrate_with`, which embeds; storing is done by the caller.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from memos_assets.cache.gate import NamespaceRules, judge, rules_for
from memos_assets.errors import AgentError

#: Threshold of a namespace and model for which too little is known: the one that lookups fall back
#: on, too.
STRICT: Final = 0.97
#: Most false hits, as a share of different pairs: of a hundred questions whose nearest one asks for
#: something else, how many are served its answer. How many pairs are the same has no part in it.
BUDGET: Final = 0.05
#: No threshold is below this: labelled pairs are near ones, and say nothing of far ones.
FLOOR: Final = 0.75
#: Fewest different pairs, and fewest same ones, that a threshold rests on.
FEWEST_DIFFERENT: Final = 100
FEWEST_SAME: Final = 20
#: Standard deviations of the bound: a bound of 97.5 % on one side.
_Z: Final = 1.959964
#: Texts that are embedded at once.
_BATCH: Final = 64
#: Steps in which thresholds are chosen.
_STEPS: Final = 1_000

Similarities = npt.NDArray[np.float64]


class EmbedsTexts(Protocol):
    """What calibration needs of an embedder."""

    @property
    def model(self) -> str:
        """The model, by the name that tables know it by."""

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Embed texts; shape (texts, dimension), not normalised."""


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two texts, and whether the answer to one answers the other.

    Attributes:
        a: the text whose answer is known.
        b: the text that is asked.
        same: the answer is right for both.
        namespace: whose threshold it counts for; None: of every one.
        source: "file", "feedback" or "shadow".
    """

    a: str
    b: str
    same: bool
    namespace: str | None = None
    source: str = "file"


@dataclass(frozen=True, slots=True)
class Point:
    """A threshold, and what is served from it on, after the gate.

    Attributes:
        threshold: least cosine.
        hits: same pairs served.
        false_hits: different pairs served.
        upper: Wilson's upper bound of false hits, as a share of different pairs.
        precision: share of served pairs that are the same; 1 if none is served.
        recall: share of same pairs that are served.
    """

    threshold: float
    hits: int
    false_hits: int
    upper: float
    precision: float
    recall: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The threshold of a namespace and model, and what it rests on.

    Attributes:
        threshold: least cosine of a winner.
        calibrated: it was measured; otherwise it is the strict default, for the reason given.
        reason: one line.
        same, different: pairs that it rests on.
        upper_bound: of false hits at the threshold, as a share of different pairs; 1 if unknown.
        curve: for a plot, thresholds ascending.
    """

    namespace: str
    model: str
    threshold: float
    budget: float
    calibrated: bool
    reason: str
    same: int
    different: int
    upper_bound: float
    curve: tuple[Point, ...]

    @property
    def pairs(self) -> int:
        """Pairs that it rests on."""
        return self.same + self.different

    def at(self, threshold: float) -> Point | None:
        """Return the point of the curve that is nearest to a threshold from below."""
        below = [point for point in self.curve if point.threshold <= threshold + 1e-9]
        return below[-1] if below else None

    def row(self) -> dict[str, Any]:
        """Return the values of a row of ``agent.cache_thresholds``."""
        return {
            "namespace": self.namespace,
            "model": self.model,
            "threshold": self.threshold,
            "budget": self.budget,
            "upper_bound": self.upper_bound,
            "pairs": self.pairs,
            "curve": [asdict(point) for point in self.curve],
        }


def wilson_upper(count: int, total: int, *, z: float = _Z) -> float:
    """Return Wilson's upper bound of a share; 1 of nothing."""
    if total <= 0:
        return 1.0
    share, square = count / total, z * z
    middle = share + square / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return min((middle + spread) / (1 + square / total), 1.0)


def calibrate(
    pairs: Sequence[LabelledPair],
    similarities: Sequence[float] | Similarities,
    *,
    namespace: str,
    model: str,
    budget: float = BUDGET,
    rules: NamespaceRules | None = None,
    strict: float = STRICT,
) -> Calibration:
    """Return the smallest threshold whose false hits after the gate stay within a budget.

    Args:
        pairs: labelled; those of other namespaces are left out. One with two labels is different.
        similarities: their cosines, in the same order; NaN is never served.
        namespace: whose threshold it is.
        model: that the cosines are of.
        budget: most false hits, as a share of different pairs, 0 to 1.
        rules: of the gate; None: those of the namespace.
        strict: threshold if there are too few pairs or none is within the budget.

    Raises:
        AgentError: M795 another number of cosines than of pairs, or a budget outside (0, 1).
    """
    if len(pairs) != len(similarities):
        raise _unusable(f"{len(similarities):,} similarities for {len(pairs):,} pairs")
    if not 0 < budget < 1:
        raise _unusable(f"a budget of {budget}, which is not between 0 and 1")
    rules = rules or rules_for(namespace)
    labelled = _of_namespace(pairs, similarities, namespace)
    same = sum(pair.same for pair, _ in labelled)
    different = len(labelled) - same
    served = [
        (cosine if judge(rules, pair.b, pair.a).serve else -1.0, pair.same)
        for pair, cosine in labelled
    ]
    curve = tuple(_every_step(served, same, different))

    def result(point: Point | None, reason: str) -> Calibration:
        threshold = strict if point is None else point.threshold
        shown = point or _point(served, threshold, same, different)
        return Calibration(
            namespace=namespace,
            model=model,
            threshold=threshold,
            budget=budget,
            calibrated=point is not None,
            reason=reason,
            same=same,
            different=different,
            upper_bound=shown.upper,
            curve=curve,
        )

    if different < FEWEST_DIFFERENT or same < FEWEST_SAME:
        return result(
            None,
            f"{different:,} different and {same:,} same pairs are too few: at least "
            f"{FEWEST_DIFFERENT:,} and {FEWEST_SAME:,} are needed",
        )
    best = next((point for point in curve if point.upper <= budget), None)
    if best is None:
        return result(None, f"at no threshold are false hits surely below {budget:.1%}")
    return result(
        best,
        f"{best.false_hits:,} of {different:,} different pairs are served, surely below "
        f"{budget:.1%}; {best.recall:.1%} of the same ones",
    )


def calibrate_with(
    embedder: EmbedsTexts,
    pairs: Sequence[LabelledPair],
    namespaces: Iterable[str],
    *,
    budget: float = BUDGET,
) -> list[Calibration]:
    """Embed the texts of pairs once, and calibrate namespaces; no session is needed."""
    similarities = cosines(embedder, pairs)
    return [
        calibrate(pairs, similarities, namespace=name, model=embedder.model, budget=budget)
        for name in namespaces
    ]


def cosines(embedder: EmbedsTexts, pairs: Sequence[LabelledPair]) -> Similarities:
    """Return the cosine of every pair, shape (pairs,); every text is embedded once."""
    places: dict[str, int] = {}
    for pair in pairs:
        places.setdefault(pair.a, len(places))
        places.setdefault(pair.b, len(places))
    texts = list(places)
    if not texts:
        return np.zeros(0)
    # Texts of one length are embedded together: a batch is padded to its longest.
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors: list[npt.NDArray[np.float32]] = [np.zeros(0, np.float32)] * len(texts)
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        found = embedder.embed([texts[place] for place in batch])
        for place, vector in zip(batch, found, strict=True):
            vectors[place] = vector / np.linalg.norm(vector)
    return np.array([float(vectors[places[pair.a]] @ vectors[places[pair.b]]) for pair in pairs])


def read_pairs(path: Path) -> list[LabelledPair]:
    """Read labelled pairs, one JSON object a line: a, b, label, and if wanted namespace and source.

    A label is true or false, 1 or 0, "same" or "different".

    Raises:
        AgentError: M795 a line is not such an object; it is named.
    """
    return list(_read(path))


def _read(path: Path) -> Iterator[LabelledPair]:
    labels: dict[Any, bool] = {True: True, False: False, "same": True, "different": False}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                row = json.loads(line)
                a, b, label = row["a"], row["b"], row["label"]
                same = labels[label]
            except (ValueError, KeyError, TypeError):
                raise _unusable("a line without a, b and a label", where) from None
            namespace, source = row.get("namespace"), row.get("source", "file")
            texts = (a, b, source) if namespace is None else (a, b, source, namespace)
            if not all(isinstance(text, str) and text.strip() for text in texts):
                raise _unusable("a pair with something that is not a text", where)
            yield LabelledPair(a, b, same, namespace, source)


def pairs_of(rows: Iterable[Mapping[str, Any]], source: str) -> Iterator[LabelledPair]:
    """Turn rows with ``asked``, ``matched``, ``wrong`` and ``namespace`` into labelled pairs.

    Args:
        rows: feedback of callers, or shadow observations: pairs whose answer was computed too, and
            compared with the one that was stored.
        source: "feedback" or "shadow".
    """
    for row in rows:
        yield LabelledPair(
            str(row["matched"]), str(row["asked"]), not row["wrong"], row["namespace"], source
        )


def _of_namespace(
    pairs: Sequence[LabelledPair], similarities: Sequence[float] | Similarities, namespace: str
) -> list[tuple[LabelledPair, float]]:
    """Return the pairs of a namespace, each once; of two labels, the one that refuses."""
    found: dict[tuple[str, str], tuple[LabelledPair, float]] = {}
    for pair, similarity in zip(pairs, similarities, strict=True):
        if pair.namespace not in (None, namespace):
            continue
        known = found.get((pair.a, pair.b))
        if known is None or (known[0].same and not pair.same):
            cosine = float(similarity)
            found[pair.a, pair.b] = (pair, -1.0 if math.isnan(cosine) else cosine)
    return list(found.values())


def _point(
    served: Sequence[tuple[float, bool]], threshold: float, same: int, different: int
) -> Point:
    hits = sum(label for cosine, label in served if cosine >= threshold)
    false_hits = sum(not label for cosine, label in served if cosine >= threshold)
    return _named(threshold, hits, false_hits, same, different)


def _named(threshold: float, hits: int, false_hits: int, same: int, different: int) -> Point:
    served = hits + false_hits
    return Point(
        threshold=threshold,
        hits=hits,
        false_hits=false_hits,
        upper=wilson_upper(false_hits, different),
        precision=hits / served if served else 1.0,
        recall=hits / same if same else 0.0,
    )


def _every_step(served: Sequence[tuple[float, bool]], same: int, different: int) -> Iterator[Point]:
    """Yield the points from the floor to 1, in steps of a thousandth."""
    of_same = np.sort([cosine for cosine, label in served if label])
    of_different = np.sort([cosine for cosine, label in served if not label])
    for step in range(round(FLOOR * _STEPS), _STEPS + 1):
        threshold = step / _STEPS
        hits = len(of_same) - int(np.searchsorted(of_same, threshold))
        false_hits = len(of_different) - int(np.searchsorted(of_different, threshold))
        yield _named(threshold, hits, false_hits, same, different)


def _unusable(what: str, where: str = "calibration of the cache") -> AgentError:
    return AgentError(
        "M795",
        f"labelled pairs cannot be used: {what}",
        where=where,
        fix='give one JSON object a line: {"a": TEXT, "b": TEXT, "label": true or false}, and if '
        "wanted namespace",
    )
