"""The finding of a check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """What a judge found of one subject. ``evidence`` is enough to act on without another run."""

    passed: bool
    expected: str
    observed: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
