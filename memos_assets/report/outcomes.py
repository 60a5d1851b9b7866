"""Evaluations of checks, and what they say together of each claim of the checklist."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from memos_assets.checklist import CHECKLIST, CLAIMS, Claim

Severity = Literal["error", "warning"]
#: ``open`` is red as a warning only: something is left to do, and nothing is wrong.
Status = Literal["proven", "open", "unproven", "failed"]


def describe(claim: str, expected: str, observed: str, *, passed: bool) -> str:
    """Return one line about a claim: expected, observed, and the fix where it is red."""
    fix = "" if passed else f". Fix: {CLAIMS[claim].fix}"
    return f"expected {expected}; observed {observed}{fix}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one check.

    Attributes:
        asset: what the claim is made about, as ``memos/embeddings``.
        check: name of the check.
        passed: whether the claim holds there.
        expected: what it expected, in words.
        observed: what it saw.
        run_id: the run that evaluated it.
        timestamp: when it was written down, seconds since 1970.
        severity: ``warning`` where being red makes nothing unproven.
        began: when the step that read both sides began; 0 where that is not known.
        stale: what it read was loaded or pinned again since.
        metadata: its evidence, by name.
    """

    asset: str
    check: str
    passed: bool
    expected: str
    observed: str
    run_id: str
    timestamp: float
    severity: Severity = "error"
    began: float = 0.0
    stale: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def description(self) -> str:
        """What was expected and observed, and the fix where it is red."""
        return describe(self.check, self.expected, self.observed, passed=self.passed)

    @property
    def status(self) -> Status:
        """What it says of the claim about its asset."""
        if not self.passed:
            return "failed" if self.severity == "error" else "open"
        return "unproven" if self.stale else "proven"


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """A claim of the checklist over all the assets it is made about.

    ``unproven`` names those on which nobody has evaluated it.
    """

    claim: Claim
    evaluations: Sequence[Evaluation]
    unproven: Sequence[str]

    def _having(self, status: Status) -> list[Evaluation]:
        return [evaluation for evaluation in self.evaluations if evaluation.status == status]

    @property
    def passed(self) -> int:
        """On how many assets it holds, as they are."""
        return len(self._having("proven"))

    @property
    def total(self) -> int:
        """On how many assets it is made."""
        return len(self.evaluations) + len(self.unproven)

    @property
    def failed(self) -> Sequence[Evaluation]:
        """Where it is red."""
        return self._having("failed")

    @property
    def open(self) -> Sequence[Evaluation]:
        """Where it is red as a warning: to be done, not wrong."""
        return self._having("open")

    @property
    def stale(self) -> Sequence[Evaluation]:
        """Where it held before what it read was loaded or pinned again."""
        return self._having("unproven")

    @property
    def proven(self) -> bool:
        """Whether nothing speaks against it; what is open does not."""
        return self.status in ("proven", "open")

    @property
    def status(self) -> Status:
        """The worst that can be said of it."""
        if self.failed:
            return "failed"
        if self.unproven or self.stale:
            return "unproven"
        return "open" if self.open else "proven"


def outcomes(
    checks: Iterable[tuple[str, str]],
    evaluations: Iterable[Evaluation],
    changed: Mapping[str, float],
) -> list[ClaimOutcome]:
    """Sum evaluations up by claim, in the order of the checklist.

    Args:
        checks: (asset, name of the check) of all that there are.
        evaluations: the latest of each that was evaluated.
        changed: asset -> when what is claimed of it last changed, seconds since 1970. An
            evaluation that began earlier is stale.
    """
    known = {
        (evaluation.asset, evaluation.check): replace(
            evaluation,
            stale=changed.get(evaluation.asset, 0.0) > (evaluation.began or evaluation.timestamp),
        )
        for evaluation in evaluations
    }
    by_claim: dict[str, list[str]] = {}
    for asset, name in checks:
        by_claim.setdefault(name, []).append(asset)
    return [
        ClaimOutcome(
            claim,
            [known[asset, claim.name] for asset in assets if (asset, claim.name) in known],
            [asset for asset in assets if (asset, claim.name) not in known],
        )
        for claim in CHECKLIST
        if (assets := by_claim.get(claim.name))
    ]
