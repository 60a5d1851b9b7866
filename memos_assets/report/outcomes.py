"""Evaluations of checks, and the result of each check over all of its assets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from memos_assets.check import AnyCheck, Checklist, Severity

#: ``open``: failed as a warning. Something is left to do, and nothing is wrong.
Status = Literal["proven", "open", "unproven", "failed"]


def describe(check: AnyCheck, expected: str, observed: str, *, passed: bool) -> str:
    """Return one line about a result: expected, observed, and the fix where it failed."""
    fix = "" if passed else f". Fix: {check.fix}"
    return f"expected {expected}; observed {observed}{fix}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of one check.

    Attributes:
        asset: that was checked, as ``memos/embeddings``.
        check: name of the check.
        passed: whether it passed.
        expected: the expected value, in words.
        observed: the observed value, in words.
        run_id: the run that evaluated it.
        timestamp: when it was stored, seconds since 1970.
        severity: ``warning`` where a failure makes nothing unproven.
        began: when the step that read both sides began; 0 where that is not known.
        stale: whether its data was loaded or pinned again since.
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
    def status(self) -> Status:
        """The status of its asset by this evaluation."""
        if not self.passed:
            return "failed" if self.severity == "error" else "open"
        return "unproven" if self.stale else "proven"

    @property
    def faults(self) -> tuple[str, ...]:
        """The faults that its evidence names, each with its row or object; none where it passed."""
        named = self.metadata.get("faults")
        if self.passed or not isinstance(named, list):
            return ()
        return tuple(one for one in named if isinstance(one, str))

    @property
    def fault_count(self) -> int:
        """How many faults there are, named or not."""
        counted = self.metadata.get("fault_count")
        return counted if isinstance(counted, int) else len(self.faults)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check over all of its assets.

    ``unproven`` names those on which it was never evaluated.
    """

    check: AnyCheck
    evaluations: Sequence[Evaluation]
    unproven: Sequence[str]

    def _having(self, status: Status) -> list[Evaluation]:
        return [evaluation for evaluation in self.evaluations if evaluation.status == status]

    @property
    def passed(self) -> int:
        """Number of assets on which it passed and is not stale."""
        return len(self._having("proven"))

    @property
    def total(self) -> int:
        """Number of assets that it is about."""
        return len(self.evaluations) + len(self.unproven)

    @property
    def failed(self) -> Sequence[Evaluation]:
        """Evaluations that failed."""
        return self._having("failed")

    @property
    def open(self) -> Sequence[Evaluation]:
        """Evaluations that failed as a warning: work is left, and nothing is wrong."""
        return self._having("open")

    @property
    def stale(self) -> Sequence[Evaluation]:
        """Evaluations that passed, and whose data was loaded or pinned again since."""
        return self._having("unproven")

    @property
    def proven(self) -> bool:
        """Whether the check is proven; an open check, which leaves work, counts as proven."""
        return self.status in ("proven", "open")

    @property
    def status(self) -> Status:
        """The worst status of its evaluations."""
        if self.failed:
            return "failed"
        if self.unproven or self.stale:
            return "unproven"
        return "open" if self.open else "proven"


def check_results(
    checklist: Checklist,
    places: Iterable[tuple[str, str]],
    evaluations: Iterable[Evaluation],
    changed: Mapping[str, float],
) -> list[CheckResult]:
    """Sum evaluations up by check, in the order of the checklist.

    Args:
        checklist: the checks; one without a place is left out.
        places: (asset, name of the check) of all that there are.
        evaluations: the latest of each that was evaluated.
        changed: asset -> when its data last changed, seconds since 1970. An evaluation that began
            earlier is stale.
    """
    known = {
        (evaluation.asset, evaluation.check): replace(
            evaluation,
            stale=changed.get(evaluation.asset, 0.0) > (evaluation.began or evaluation.timestamp),
        )
        for evaluation in evaluations
    }
    by_check: dict[str, list[str]] = {}
    for asset, name in places:
        by_check.setdefault(name, []).append(asset)
    return [
        CheckResult(
            check,
            [known[asset, check.name] for asset in assets if (asset, check.name) in known],
            [asset for asset in assets if (asset, check.name) not in known],
        )
        for check in checklist
        if (assets := by_check.get(check.name))
    ]
