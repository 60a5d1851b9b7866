"""The finding of a check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a check for one subject; ``evidence`` is enough to act without another run."""

    passed: bool
    expected: str
    observed: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
