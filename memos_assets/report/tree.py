"""The content of a report as one tree of frozen values, from which JSON and HTML are written.

Moments are ISO 8601 with an offset, to the second. Nothing here reads files or the database.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from memos_assets.report.outcomes import Status

#: Raised when a key of the JSON is renamed or leaves; a reader of the JSON may rely on it.
FORMAT = 1
#: Field -> its key in the JSON of this format.
_KEYS = {"statement": "claim"}
TITLE = "Consolidation of memOS's SQLite stores in PostgreSQL"

Subject = Literal[
    "failed step",
    "failed check",
    "not evaluated",
    "stale",
    "open check",
    "open rejects",
    "source is newer",
    "not indexed",
]
#: The treatment of a file under the roots that is not consolidated.
Becomes = Literal["kept in place", "left alone", "unusable"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the rows went: the address without its password, and which version of the tables.

    ``version`` is None where no version was written down so far.
    """

    address: str
    schema: str
    revision: str
    version: int | None


@dataclass(frozen=True, slots=True)
class LostShare:
    """Rows, or embeddings of one column, that a table lost for one reason; largest share first.

    Attributes:
        table: in PostgreSQL, without its schema.
        column: of the embeddings; None where rows are lost.
        reason: why.
        count: how many are lost.
        of: how many there are.
        is_fact: whether the file shows the reason by itself; else it is our reading of the file.
    """

    table: str
    column: str | None
    reason: str
    count: int
    of: int
    is_fact: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """The conclusion in a few sentences, and what each table lost."""

    proven: bool
    sentence: str
    lost: tuple[LostShare, ...] = ()


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A consolidated file and the pinned copy of it that was loaded.

    Attributes:
        source: name that its rows carry.
        kind: kind of file.
        path: the file.
        bytes: size of the pinned copy; 0 when it is gone.
        rows: rows of all its tables.
        content_digest: sha256 over its rows, chunk by chunk.
        fingerprint: sha256 of the file's bytes and of the logs beside it, as they were pinned.
        file_sha256: of the file alone, as ``sha256sum`` prints it; None when it is no longer the
            file that was pinned.
        pinned_at: when the copy was taken.
        state: result of comparing the file with its pin, in words.
        newer: whether the file holds other rows than were loaded, or is gone.
        is_demo: whether the demo wrote it.
    """

    source: str
    kind: str
    path: str
    bytes: int
    rows: int
    content_digest: str | None
    fingerprint: str | None
    file_sha256: str | None
    pinned_at: str | None
    state: str
    newer: bool
    is_demo: bool = False


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file under the roots that was not consolidated, as it was when it was last looked at."""

    file: str
    becomes: Becomes
    what: str
    bytes: int
    seen_at: str


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision of the catalog about one SQLite table; ``fingerprint`` is its code version."""

    kind: str
    origin: str
    table: str
    key: tuple[str, ...]
    vectors: tuple[str, ...]
    links: tuple[str, ...]
    notes: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Repair:
    """A decision of a person; ``does`` is its effect, ``rows`` how many rows it is about.

    About rejects of a reason, about NULL embeddings (``rule`` is then ``accept``), or about a table
    or column that stays in its file (``acknowledge``).
    """

    source: str
    table: str
    reason: str
    rule: str
    does: str
    decided_by: str
    decided_at: str
    note: str | None
    rows: int | None = None


@dataclass(frozen=True, slots=True)
class TableRows:
    """One source in one table: its counts in the ledger, and the digests that V02 computed.

    ``digest_in_*`` are None until V02 was evaluated; they speak of ``compared_rows`` rows at
    ``compared_at``, and ``stale`` says that rows were loaded or pinned since.
    """

    source: str
    table: str
    chunks: int
    source_rows: int
    source_bytes: int
    rows: int
    rejected: int
    mirrored: int
    rejects: Mapping[str, int]
    without_embedding: Mapping[str, int]
    repaired: Mapping[str, int]
    loaded_at: str
    compared_rows: int | None
    digest_in_sqlite: str | None
    digest_in_postgresql: str | None
    compared_at: str | None
    stale: bool


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Rows of all tables that were rejected, or lost their embedding, for one reason."""

    what: Literal["rejected", "no embedding"]
    reason: str
    rows: int
    settled: int
    meaning: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One check on one asset.

    Attributes:
        asset: that was checked.
        status: by this evaluation.
        stale: whether its data was loaded or pinned again since.
        expected: in words.
        observed: in words.
        evaluated_at: when.
        run: that evaluated it.
        faults: the first ones, where it did not pass: each names a row or an object.
        more_faults: how many more there are.
        differences: of the values that differ, where values were compared: table, source, key,
            column and both values.
    """

    asset: str
    status: Status
    stale: bool
    expected: str
    observed: str
    evaluated_at: str
    run: str
    faults: tuple[str, ...] = ()
    more_faults: int = 0
    differences: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """One check over all its assets, and the latest evaluation of each.

    ``statement`` is the title of the check.
    """

    check: str
    name: str
    statement: str
    fix: str
    status: Status
    proven: bool
    passed: int
    total: int
    failed: tuple[Evaluated, ...]
    open: tuple[Evaluated, ...]
    stale: tuple[Evaluated, ...]
    unproven: tuple[str, ...]
    evaluations: tuple[Evaluated, ...]


@dataclass(frozen=True, slots=True)
class IndexUse:
    """A search index as PostgreSQL has it, its latest build, and the results of V07, V11 and V16.

    Attributes:
        index: its name.
        table: the table it is on.
        strategy: how it searches, in words.
        method: ``vector``, ``halfvec``, ``bits`` or ``gin``.
        dimension: of the vectors that it serves; None for GIN.
        rows: rows that it serves.
        bytes: on the disk.
        valid: whether it is there and PostgreSQL considers it valid.
        build_seconds: of its latest build; None where no build is on record.
        built_at: when that was.
        usable: whether the planner can serve the catalog's query by it; None: not evaluated.
        chosen: whether the planner does so by itself; None: not evaluated, or not tested.
        recall: share of the true nearest rows that searches found, as V16 measured it, 0 to 1;
            None: not evaluated, no rows, or no index of vectors.
        search_p50_ms: median of those searches, in milliseconds; None as above.
        search_p95_ms: 95 of 100 took at most this.
        scan_p50_ms: median of exact scans for the same queries.
        scan_p95_ms: 95 of 100 took at most this.
        forecast_seconds: forecast of ``build_seconds``; None without a forecast.
    """

    index: str
    table: str
    strategy: str
    method: str
    dimension: int | None
    rows: int
    bytes: int
    valid: bool
    build_seconds: float | None
    built_at: str | None
    usable: bool | None
    chosen: bool | None
    recall: float | None = None
    search_p50_ms: float | None = None
    search_p95_ms: float | None = None
    scan_p50_ms: float | None = None
    scan_p95_ms: float | None = None
    forecast_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one run of the consolidation."""

    phase: str
    what: str
    started_at: str
    seconds: float
    run: str


@dataclass(frozen=True, slots=True)
class Phase:
    """The steps of one kind together."""

    phase: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Timings:
    """How long it took until this report; phases add up to ``total_seconds`` where none overlap."""

    started_at: str
    total_seconds: float
    phases: tuple[Phase, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class ToDo:
    """One thing that is unproven or undone, and its fix."""

    subject: Subject
    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class Report:
    """One consolidation, or one run by itself, as a person signs it."""

    format: int
    title: str
    consolidation: str
    started_at: str
    written_at: str
    written_by: str
    runs: tuple[str, ...]
    target: Target
    verdict: Verdict
    to_do: tuple[ToDo, ...]
    sources: tuple[SourceFile, ...]
    other_files: tuple[OtherFile, ...]
    decisions: tuple[Decision, ...]
    repairs: tuple[Repair, ...]
    tables: tuple[TableRows, ...]
    reasons: tuple[ReasonCount, ...]
    checklist: tuple[CheckSummary, ...]
    indexes: tuple[IndexUse, ...]
    timings: Timings
    versions: Mapping[str, str]


def as_content(part: Report | CheckSummary) -> dict[str, Any]:
    """Return a report, or one check of it, as the JSON has it: field -> value."""

    def named(fields: list[tuple[str, Any]]) -> dict[str, Any]:
        return {_KEYS.get(name, name): value for name, value in fields}

    return asdict(part, dict_factory=named)
