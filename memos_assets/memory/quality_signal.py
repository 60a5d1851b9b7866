"""The quality signal of a request: how good its observations and its reasoning are. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Final

#: Below it an observation does not count as relevant, and a conclusion as certain.
LEAST: Final = 0.5
#: So many observations cover a request.
COVERING: Final = 5
_EVIDENCE, _REASONING, _COVERAGE = 0.4, 0.4, 0.2


@dataclass(frozen=True, slots=True)
class QualitySignal:
    """Quality of a request so far; memOS's names, every number from 0 to 1.

    Attributes:
        overall_quality: 0.4 of evidence and of reasoning, 0.2 of coverage.
        evidence_quality: mean quality of the relevant observations.
        reasoning_quality: mean confidence of the conclusions.
        coverage: observations, relevant or not, of the five that cover a request.
        uncertainty_indicators: what makes it uncertain, in words.
        recommendations: what would help, in words.
    """

    overall_quality: float
    evidence_quality: float
    reasoning_quality: float
    coverage: float
    uncertainty_indicators: list[str]
    recommendations: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def quality_signal(
    observations: Sequence[tuple[float, bool]],
    confidences: Sequence[float],
    *,
    conflicts: int = 0,
    failures: int = 0,
) -> QualitySignal:
    """Compute the signal.

    Args:
        observations: quality from 0 to 1, and whether it is relevant, of each.
        confidences: of each conclusion, 0 to 1.
        conflicts: observations and conclusions that contradict others.
        failures: actions that failed.
    """
    relevant = [
        quality for quality, is_relevant in observations if is_relevant and quality >= LEAST
    ]
    evidence = fmean(relevant) if relevant else 0.0
    reasoning = fmean(confidences) if confidences else 0.0
    coverage = min(1.0, len(observations) / COVERING)
    unsure = sum(confidence < LEAST for confidence in confidences)
    reasons = (
        (not observations, "there are no observations", "search, or call a tool"),
        (bool(observations) and not relevant, "no observation is relevant", "find better sources"),
        (not confidences, "there is no reasoning", "draw conclusions from the observations"),
        (unsure > 0, f"conclusions of low confidence: {unsure}", "verify them"),
        (conflicts > 0, f"open contradictions: {conflicts}", "resolve them"),
        (failures > 0, f"failed actions: {failures}", "try them again"),
    )
    return QualitySignal(
        overall_quality=_EVIDENCE * evidence + _REASONING * reasoning + _COVERAGE * coverage,
        evidence_quality=evidence,
        reasoning_quality=reasoning,
        coverage=coverage,
        uncertainty_indicators=[said for holds, said, _ in reasons if holds],
        recommendations=[advice for holds, _, advice in reasons if holds],
    )
