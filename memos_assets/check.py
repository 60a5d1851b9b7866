"""A check: one assertion about the data, the subjects that it is made about, and its judge.

Each room exports its checks as ``CHECKS``; `memos_assets.checklist` gathers them. Asset checks, the
verdict, docs/checklist.md and the tests of the house are computed from these objects. No check is
defined here. docs/adding-a-check.md shows how one is added.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar, cast

import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.finding import Finding
from memos_assets.settings import Settings

Severity = Literal["error", "warning"]
#: ``proof`` decides on a consolidation; ``health`` watches tables and indexes in the days after it;
#: ``load`` compares what a run loaded, in that run; ``memory`` is about what agents remember,
#: ``snapshots`` about copies of it, ``cache`` about answers that are kept, ``boards`` about work.
Group = Literal["proof", "health", "load", "memory", "snapshots", "cache", "boards"]

Value = TypeVar("Value", bound=Hashable)
Reading = TypeVar("Reading")


@dataclass(frozen=True, slots=True)
class Subject(Generic[Value]):
    """One thing that a check is about.

    Attributes:
        asset: on which its result is shown, as ``memos/embeddings``.
        value: is handed to the judge.
        step: of a run, in which it is judged. Readings are shared within a step.
    """

    asset: str
    value: Value
    step: str


@dataclass(frozen=True)
class CheckContext:
    """The two sides of a check, and what was read of them so far.

    Attributes:
        engine: of the target database; of its shadow, where that is being proven.
        catalog: of the application.
        settings: that the run was started with.
        chunks: source -> the chunks that the run loads; None where it is about everything.
    """

    engine: sa.Engine
    catalog: Catalog
    settings: Settings
    chunks: Mapping[str, Sequence[int]] | None = None
    _readings: dict[tuple[object, Hashable], object] = field(default_factory=dict, repr=False)

    def read_once(self, read: Callable[["CheckContext", Value], Reading], value: Value) -> Reading:
        """Return what ``read`` returns for a value; only the first call of a step reads.

        So checks that need the same pass over a table or a file share it. A reading is kept until
        the step ends, so it should be a summary, and not hold rows.
        """
        key = (read, value)
        if key not in self._readings:
            self._readings[key] = read(self, value)
        return cast("Reading", self._readings[key])


#: Decides on one subject. It reads both sides itself.
Judge = Callable[[CheckContext, Value], Finding]


def by_connection(judge: Callable[[sa.Connection, Value], Finding]) -> Judge[Value]:
    """Return the judge that hands a connection, in a transaction, to a function."""

    def judged(context: CheckContext, value: Value) -> Finding:
        with context.engine.connect() as conn:
            return judge(conn, value)

    return judged


@dataclass(frozen=True, kw_only=True)
class Check(Generic[Value]):
    """One item of the checklist.

    Attributes:
        number: stable, because docs, reports and people cite it.
        name: of the asset check: the number, then a sentence in snake case.
        title: the sentence that is asserted.
        fix: the next action where it fails; it ends the message.
        where: its subjects in words, for the docs.
        reads: the data that it reads, for the docs.
        when_failed: the meaning of a failure and the remedy, for the docs. Markdown.
        subjects: returns everything that it is about; nothing is opened.
        judge: decides on one of them.
        severity: a failed ``warning`` leaves something to do; nothing is wrong or unproven.
        group: only checks of ``proof`` are part of the verdict on a consolidation.
        left_to_do: key of the evidence that counts the work that a warning leaves.
        blocking: a failure fails its run, and assets downstream of the subject wait.

    Raises:
        ValueError: the name does not begin with the number. Evaluations are stored under the name.
    """

    number: int
    name: str
    title: str
    fix: str
    where: str
    reads: str
    when_failed: str
    subjects: Callable[[Catalog], Iterable[Subject[Value]]]
    judge: Judge[Value]
    severity: Severity = "error"
    group: Group = "proof"
    left_to_do: str = ""
    blocking: bool = False

    def __post_init__(self) -> None:
        if not self.name.startswith(f"{self.label.lower()}_"):
            raise ValueError(f"check {self.number} is named {self.name}")

    @property
    def label(self) -> str:
        """Return the number as people cite it."""
        return f"V{self.number:02d}"

    @property
    def heading(self) -> str:
        """Return its heading in docs/checklist.md."""
        return f"{self.label} {self.name.partition('_')[2]}"

    @property
    def anchor(self) -> str:
        """Return the fragment of a link to that heading."""
        return self.heading.lower().replace(" ", "-")


AnyCheck = Check[Any]
#: A check, and one of its subjects.
Placed = tuple[AnyCheck, Subject[Any]]


@dataclass(frozen=True)
class Checklist:
    """Checks in the order of their numbers.

    Raises:
        ValueError: two checks have the same number or name.
    """

    checks: tuple[AnyCheck, ...]

    def __post_init__(self) -> None:
        for attribute in ("number", "name"):
            values = [getattr(check, attribute) for check in self.checks]
            if twice := sorted({value for value in values if values.count(value) > 1}):
                raise ValueError(f"more than one check has the {attribute} {twice[0]}")

    @classmethod
    def gather(cls, *rooms: Iterable[AnyCheck]) -> "Checklist":
        """Return the checks of rooms as one list."""
        found = (check for room in rooms for check in room)
        return cls(tuple(sorted(found, key=lambda check: check.number)))

    def __iter__(self) -> Iterator[AnyCheck]:
        return iter(self.checks)

    def __len__(self) -> int:
        return len(self.checks)

    @cached_property
    def by_name(self) -> Mapping[str, AnyCheck]:
        """Return name -> check."""
        return {check.name: check for check in self.checks}

    def of_group(self, group: Group) -> "Checklist":
        """Return the checks of one group."""
        return Checklist(tuple(check for check in self.checks if check.group == group))

    def places(self, catalog: Catalog) -> list[tuple[str, str]]:
        """Return (asset, name of the check) for every subject of every check."""
        return [
            (subject.asset, check.name)
            for check in self.checks
            for subject in check.subjects(catalog)
        ]

    def steps(self, catalog: Catalog) -> Mapping[str, list[Placed]]:
        """Return step -> its checks and subjects, all checks of one asset next to each other.

        So a step that fails on one asset has the results of those before it.
        """
        by_asset: dict[str, dict[str, list[Placed]]] = {}
        for check in self.checks:
            for subject in check.subjects(catalog):
                assets = by_asset.setdefault(subject.step, {})
                assets.setdefault(subject.asset, []).append((check, subject))
        return {
            step: [placed for group in assets.values() for placed in group]
            for step, assets in by_asset.items()
        }
