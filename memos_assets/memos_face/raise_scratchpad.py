"""memOS's RAISE scratchpad: what one request observed, concluded, learned and did, in memory.

As memOS's own class, but ids are of the content and its place, so that several additions in one
tick of the clock are several; and `from_dict` restores everything that `to_dict` wrote. What has to
outlive the request goes through `orchestrator_hooks`.
"""

import hashlib
import time
from dataclasses import MISSING, asdict, dataclass, field, fields
from enum import Enum
from typing import Any, Self

from memos_assets.memory.quality_signal import LEAST, QualitySignal, quality_signal

__all__ = [
    "Example",
    "Observation",
    "ObservationType",
    "QualitySignal",
    "RAISEScratchpad",
    "ReasoningStep",
    "ReasoningType",
    "TrajectoryStep",
    "UncertaintyIndicator",
    "create_raise_scratchpad",
]


class ObservationType(str, Enum):  # noqa: UP042  as memOS's: str() of a member is its name
    """Where an observation is from."""

    TOOL_OUTPUT = "tool_output"
    DOCUMENT = "document"
    SEARCH_RESULT = "search_result"
    USER_INPUT = "user_input"
    SYSTEM_DATA = "system_data"
    SCRAPED_CONTENT = "scraped_content"


class ReasoningType(str, Enum):  # noqa: UP042  as memOS's: str() of a member is its name
    """How a conclusion was drawn."""

    DEDUCTION = "deduction"
    INDUCTION = "induction"
    ABDUCTION = "abduction"
    COMPARISON = "comparison"
    SYNTHESIS = "synthesis"
    CRITIQUE = "critique"
    HYPOTHESIS = "hypothesis"


class UncertaintyIndicator(str, Enum):  # noqa: UP042  as memOS's: str() of a member is its name
    """How sure a conclusion is."""

    HIGH_CONFIDENCE = "high_confidence"
    MEDIUM_CONFIDENCE = "medium_confidence"
    LOW_CONFIDENCE = "low_confidence"
    CONFLICTING_EVIDENCE = "conflicting_evidence"
    MISSING_INFORMATION = "missing_information"
    UNVERIFIED = "unverified"

    @classmethod
    def of(cls, confidence: float) -> "UncertaintyIndicator":
        """Return the indicator of a confidence: high from 0.8 on, medium from 0.5 on."""
        if confidence >= 0.8:
            return cls.HIGH_CONFIDENCE
        return cls.MEDIUM_CONFIDENCE if confidence >= LEAST else cls.LOW_CONFIDENCE


#: Field -> its enumeration; a dictionary has the value.
_ENUMERATIONS: dict[str, type[Enum]] = {
    "observation_type": ObservationType,
    "reasoning_type": ReasoningType,
    "uncertainty": UncertaintyIndicator,
}


class _Entry:
    """An entry that becomes plain values and back."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        values = asdict(self)  # type: ignore[call-overload]  # every entry is a dataclass
        return {
            name: value.value if isinstance(value, Enum) else value
            for name, value in values.items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the entry of plain values; fields that older ones lack have their defaults.

        Raises:
            KeyError: a field without a default is missing.
            ValueError: a value of an enumeration is unknown.
        """
        values = {}
        for one in fields(cls):  # type: ignore[arg-type]  # every entry is a dataclass
            required = one.default is MISSING and one.default_factory is MISSING
            if one.name in data or required:
                value = data[one.name]
                kind = _ENUMERATIONS.get(one.name)
                values[one.name] = value if kind is None else kind(value)
        return cls(**values)


@dataclass
class Observation(_Entry):
    """What a tool, a page or a person said; `quality_score` from 0 to 1."""

    id: str
    observation_type: ObservationType
    content: str
    source: str
    timestamp: float = field(default_factory=time.time)
    metadata: dict[str, Any] = field(default_factory=dict)
    quality_score: float = 0.5
    is_relevant: bool = True


@dataclass
class ReasoningStep(_Entry):
    """A conclusion, and the ids of the entries that it was drawn from."""

    id: str
    reasoning_type: ReasoningType
    conclusion: str
    premises: list[str] = field(default_factory=list)
    confidence: float = 0.5
    uncertainty: UncertaintyIndicator = UncertaintyIndicator.MEDIUM_CONFIDENCE
    timestamp: float = field(default_factory=time.time)
    agent: str = ""
    notes: str = ""


@dataclass
class Example(_Entry):
    """A pattern that worked in this request."""

    id: str
    pattern_type: str
    input_pattern: str
    output_pattern: str
    context: dict[str, Any] = field(default_factory=dict)
    success_score: float = 0.8
    timestamp: float = field(default_factory=time.time)
    reuse_count: int = 0


@dataclass
class TrajectoryStep(_Entry):
    """An action with the states before and after it."""

    id: str
    action: str
    agent: str
    input_state: dict[str, Any] = field(default_factory=dict)
    output_state: dict[str, Any] = field(default_factory=dict)
    duration_ms: float = 0.0
    timestamp: float = field(default_factory=time.time)
    success: bool = True
    error: str | None = None


class RAISEScratchpad:
    """Observations, reasoning, examples and trajectory of one request.

    Attributes:
        request_id: of the request.
        query: that the request is about.
        created_at: seconds since 1970.
        observations, reasoning, examples: id -> entry, in the order of their additions.
        trajectory: steps in their order.
    """

    def __init__(self, request_id: str, query: str) -> None:
        """Begin with nothing."""
        self.request_id, self.query = request_id, query
        self.created_at = time.time()
        self.observations: dict[str, Observation] = {}
        self.reasoning: dict[str, ReasoningStep] = {}
        self.examples: dict[str, Example] = {}
        self.trajectory: list[TrajectoryStep] = []

    def add_observation(
        self,
        content: str,
        observation_type: ObservationType,
        source: str,
        quality_score: float = 0.5,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Add an observation; return its id."""
        key = self._id("obs", content, source)
        self.observations[key] = Observation(
            key,
            ObservationType(observation_type),
            content,
            source,
            quality_score=quality_score,
            metadata=metadata or {},
        )
        return key

    def get_observations_by_type(self, observation_type: ObservationType) -> list[Observation]:
        """Return the observations of a type."""
        return [
            one for one in self.observations.values() if one.observation_type == observation_type
        ]

    def get_observations_by_source(self, source: str) -> list[Observation]:
        """Return the observations from a source."""
        return [one for one in self.observations.values() if one.source == source]

    def get_relevant_observations(self, min_quality: float = 0.5) -> list[Observation]:
        """Return the observations that are relevant and good enough."""
        return [
            one
            for one in self.observations.values()
            if one.is_relevant and one.quality_score >= min_quality
        ]

    def add_reasoning_step(
        self,
        conclusion: str,
        reasoning_type: ReasoningType,
        premises: list[str] | None = None,
        confidence: float = 0.5,
        agent: str = "",
        notes: str = "",
    ) -> str:
        """Add a conclusion; return its id."""
        key = self._id("rsn", conclusion, agent)
        self.reasoning[key] = ReasoningStep(
            key,
            ReasoningType(reasoning_type),
            conclusion,
            premises or [],
            confidence,
            UncertaintyIndicator.of(confidence),
            agent=agent,
            notes=notes,
        )
        return key

    def get_reasoning_chain(self) -> list[ReasoningStep]:
        """Return the conclusions in their order."""
        return list(self.reasoning.values())

    def get_low_confidence_reasoning(self, threshold: float = 0.5) -> list[ReasoningStep]:
        """Return the conclusions whose confidence is below a threshold."""
        return [one for one in self.reasoning.values() if one.confidence < threshold]

    def add_example(
        self,
        pattern_type: str,
        input_pattern: str,
        output_pattern: str,
        success_score: float = 0.8,
        context: dict[str, Any] | None = None,
    ) -> str:
        """Add a pattern that worked; return its id."""
        key = self._id("ex", pattern_type, input_pattern, output_pattern)
        self.examples[key] = Example(
            key,
            *(pattern_type, input_pattern, output_pattern),
            context=context or {},
            success_score=success_score,
        )
        return key

    def find_matching_example(
        self, pattern_type: str, input_pattern: str, similarity_threshold: float = 0.7
    ) -> Example | None:
        """Return the example of a type with the most words in common, and count its use.

        The similarity is the share of common words in the longer of both texts.
        """
        asked = set(input_pattern.lower().split())
        best: Example | None = None
        highest = 0.0
        for one in self.examples.values():
            words = set(one.input_pattern.lower().split())
            if one.pattern_type != pattern_type or not (asked and words):
                continue
            similarity = len(asked & words) / max(len(asked), len(words))
            if similarity >= similarity_threshold and similarity > highest:
                best, highest = one, similarity
        if best is not None:
            best.reuse_count += 1
        return best

    def add_trajectory_step(
        self,
        action: str,
        agent: str,
        input_state: dict[str, Any] | None = None,
        output_state: dict[str, Any] | None = None,
        duration_ms: float = 0.0,
        success: bool = True,  # noqa: FBT001, FBT002  memOS's signature
        error: str | None = None,
    ) -> str:
        """Add an action; return its id."""
        key = self._id("traj", action, agent)
        self.trajectory.append(
            TrajectoryStep(
                key,
                *(action, agent, input_state or {}, output_state or {}),
                duration_ms=duration_ms,
                success=success,
                error=error,
            )
        )
        return key

    def get_failed_steps(self) -> list[TrajectoryStep]:
        """Return the actions that failed."""
        return [one for one in self.trajectory if not one.success]

    def get_recent_trajectory(self, n: int = 5) -> list[TrajectoryStep]:
        """Return the last actions."""
        return self.trajectory[-n:] if n > 0 else []

    def get_quality_signal(self) -> QualitySignal:
        """Return the quality of the request so far; see `memory.quality_signal`."""
        conflicting = UncertaintyIndicator.CONFLICTING_EVIDENCE
        return quality_signal(
            [(one.quality_score, one.is_relevant) for one in self.observations.values()],
            [one.confidence for one in self.reasoning.values()],
            conflicts=sum(one.uncertainty is conflicting for one in self.reasoning.values()),
            failures=len(self.get_failed_steps()),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {
            "request_id": self.request_id,
            "query": self.query,
            "created_at": self.created_at,
            "observations": {key: one.to_dict() for key, one in self.observations.items()},
            "reasoning": {key: one.to_dict() for key, one in self.reasoning.items()},
            "examples": {key: one.to_dict() for key, one in self.examples.items()},
            "trajectory": [one.to_dict() for one in self.trajectory],
            "reasoning_chain": list(self.reasoning),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "RAISEScratchpad":
        """Return the scratchpad that `to_dict` wrote, this one's or memOS's."""
        pad = cls(data["request_id"], data["query"])
        pad.created_at = data.get("created_at", pad.created_at)
        for key, one in data.get("observations", {}).items():
            pad.observations[key] = Observation.from_dict(one)
        steps = data.get("reasoning", {})
        chain = [key for key in data.get("reasoning_chain", ()) if key in steps]
        # JSON that sorts keys loses their order; the chain has it.
        for key in dict.fromkeys([*chain, *steps]):
            pad.reasoning[key] = ReasoningStep.from_dict(steps[key])
        for key, one in data.get("examples", {}).items():
            pad.examples[key] = Example.from_dict(one)
        pad.trajectory = [TrajectoryStep.from_dict(one) for one in data.get("trajectory", ())]
        return pad

    def get_summary(self) -> str:
        """Return the counts and the quality as text."""
        signal = self.get_quality_signal()
        return "\n".join(
            (
                f"Observations: {len(self.observations)}",
                f"Reasoning steps: {len(self.reasoning)}",
                f"Examples: {len(self.examples)}",
                f"Trajectory steps: {len(self.trajectory)}",
                f"Overall quality: {signal.overall_quality:.2f}",
                f"Uncertainties: {', '.join(signal.uncertainty_indicators) or 'none'}",
            )
        )

    def _id(self, prefix: str, *content: str) -> str:
        """Return 12 hex digits, the same for the same content at the same place of a request."""
        place = len(self.observations) + len(self.reasoning)
        place += len(self.examples) + len(self.trajectory)
        identity = "\0".join((prefix, self.request_id, str(place), *content))
        return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def create_raise_scratchpad(request_id: str, query: str) -> RAISEScratchpad:
    """Return an empty scratchpad."""
    return RAISEScratchpad(request_id, query)
