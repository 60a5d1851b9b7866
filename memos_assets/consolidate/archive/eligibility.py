"""Decide which files may be retired; for every other file, give the reason and a fix."""

import os
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind
from memos_assets.consolidate.archive.manifests import MANIFEST, Manifest, file_sha256
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.accounted import account
from memos_assets.consolidate.sources.acknowledged import acknowledged
from memos_assets.consolidate.sources.discover import FoundFile, Root
from memos_assets.consolidate.sources.pins import Pin, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.postgres.engine import check_server
from memos_assets.postgres.schema import tables
from memos_assets.sqlite import file as sqlite_file
from memos_assets.sqlite.locks import OpenFiles, locks_on, logs_beside, open_files

#: The part of a file in a retirement: a registered source, a test or legacy file, or neither.
Role = Literal["source", "other", "stays"]


@dataclass(frozen=True, slots=True)
class Unmet:
    """A condition that a file does not meet."""

    what: str
    fix: str


@dataclass(frozen=True, slots=True)
class CheckSeen:
    """The latest evaluation of one check on one asset.

    ``proven`` means that it passed and that nothing of its kind was loaded or pinned since it
    began. ``pins`` are the digests of what it read, by source; None where it reads no source.
    """

    check: str
    asset: str
    passed: bool
    proven: bool
    expected: str
    observed: str
    evaluated_at: str
    run_id: str
    consolidation: str
    pins: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file as a retirement sees it.

    Attributes:
        name: of the source, or that a test or legacy file would have.
        path: of the file.
        role: its part in a retirement.
        kind: its kind, None where it is not one of memOS's.
        why: for a file that stays, the reason.
        tables: SQLite table -> rows, where known.
        unmet: conditions that it does not meet; without any it would be retired.
        source: the registered source.
        checklist: the evaluations that concern it.
    """

    name: str
    path: Path
    role: Role
    kind: FileKind | None
    why: str = ""
    tables: Mapping[str, int] | None = None
    unmet: tuple[Unmet, ...] = ()
    source: registry.Source | None = None
    checklist: tuple[CheckSeen, ...] = ()

    @property
    def would_be_retired(self) -> bool:
        """Whether it meets every condition."""
        return self.role != "stays" and not self.unmet


Evaluations = Callable[[FileKind], Sequence[CheckSeen]]


def find_candidates(
    conn: sa.Connection, catalog: Catalog, files: Iterable[FoundFile]
) -> list[Candidate]:
    """Return registered sources that are not retired, and every other file that was found."""
    registered = registry.registered_sources(conn, catalog.consolidated)
    retired = {source.name for source in registered if source.retired_to}
    found = [
        Candidate(s.name, s.path, "source", s.kind, source=s)
        for s in registered
        if s.retired_to is None
    ]
    known = {candidate.path for candidate in found}
    for file in files:
        if file.path in known:
            continue
        candidate = Candidate(file.source, file.path, "stays", file.kind, file.why, file.tables)
        if file.treatment == "consolidate":
            candidate = replace(candidate, role="other", unmet=(_unregistered(file, retired),))
        elif file.treatment == "list" and file.kind is not None:
            candidate = replace(candidate, role="other")
        elif file.treatment == "keep":
            candidate = replace(candidate, why="a cache")
        found.append(candidate)
    return found


def _unregistered(file: FoundFile, retired: set[str]) -> Unmet:
    if file.source in retired:
        return Unmet(
            "the name belongs to a retired source",
            f"consolidate it under a name of its own: --data {file.source}_2={file.path}",
        )
    return Unmet("the file is not consolidated", f"memos-assets consolidate --data {file.path}")


def judge(
    engine: sa.Engine,
    candidates: Sequence[Candidate],
    *,
    archive: Path,
    roots: Sequence[Root],
    evaluations: Evaluations,
    accept_open_rejects: bool = False,
) -> tuple[list[Candidate], int]:
    """Compare every candidate with every condition.

    Args:
        engine: of the target database.
        candidates: from `find_candidates`.
        archive: the folder that files are moved to.
        roots: the folders that files may be taken from.
        evaluations: returns the latest evaluations that concern a kind of file.
        accept_open_rejects: retire sources although some of their rows are in the rejects.

    Returns:
        The candidates with their unmet conditions, and the number of processes whose open files
        cannot be listed.
    """
    seen = open_files([candidate.path for candidate in candidates])
    judged = []
    known: dict[str, tuple[CheckSeen, ...]] = {}
    for candidate in candidates:
        if candidate.role == "stays" or candidate.unmet:
            judged.append(candidate)
            continue
        unmet = _about_place(candidate.path, archive, roots)
        if not unmet:
            unmet = _about_users(candidate.path, seen)
            source, kind = candidate.source, candidate.kind
            if source is not None and kind is not None:
                if kind.name not in known:
                    known[kind.name] = tuple(evaluations(kind))
                checks = known[kind.name]
                candidate = replace(candidate, checklist=checks)
                unmet += _about_rows(engine, source, accept_open_rejects=accept_open_rejects)
                unmet += _about_checks(source, checks)
        judged.append(replace(candidate, unmet=tuple(unmet)))
    return judged, seen.unseen


def _about_place(path: Path, archive: Path, roots: Sequence[Root]) -> list[Unmet]:
    try:
        status = path.lstat()
    except OSError:
        return [Unmet("the file is gone", "put it back, or memos-assets forget NAME")]
    if not stat.S_ISREG(status.st_mode):
        return [Unmet("the path is not a regular file", "retire the file that it leads to")]
    if not any(path.resolve().is_relative_to(root.path) for root in roots):
        return [Unmet("the file is outside the roots", f"--data {path.parent}")]
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return [Unmet("its path is not UTF-8, as a manifest is", "give it and its folder a name")]
    if archive.is_symlink():
        return [Unmet("the archive is a link", f"MEMOS_ARCHIVE={archive.resolve()}")]
    if path.name == MANIFEST:
        return [Unmet(f"a file called {MANIFEST} hides its manifest", "give it another name")]
    if _existing(archive).stat().st_dev != status.st_dev:
        return [
            Unmet(
                "the archive is on another file system",
                "point MEMOS_ARCHIVE to a folder on the file system of the file",
            )
        ]
    if not os.access(path.parent, os.W_OK):
        return [Unmet("the folder of the file may not be written", f"chmod u+w {path.parent}")]
    return []


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _about_users(path: Path, seen: OpenFiles) -> list[Unmet]:
    fix = "stop memOS, or close the file in that program"
    unmet = [
        Unmet(
            f"{name} is beside the file", "stop memOS; sqlite3 FILE 'select 1 from sqlite_master'"
        )
        for name in logs_beside(path)
    ]
    if path in seen.processes:
        unmet.append(Unmet(f"the file is open in {', '.join(seen.processes[path])}", fix))
    try:
        return unmet + [Unmet(f"the file {meaning}", fix) for meaning in locks_on(path)]
    except OSError as error:
        return [*unmet, Unmet(f"the file cannot be read ({error.strerror})", "make it readable")]


def _about_rows(
    engine: sa.Engine, source: registry.Source, *, accept_open_rejects: bool
) -> list[Unmet]:
    again = "memos-assets consolidate --data DIR"
    try:
        with engine.connect() as conn:
            pin = registry.pin_required(conn, source)
            stale = sum(len(ledger.stale_tasks(conn, s, pin)) for s in registry.specs_in(pin))
            open_rejects = {} if accept_open_rejects else _open_rejects(conn, source)
            behind = _left_behind(conn, source.path, pin)
        unchanged = is_unchanged(replace(pin, origin=source.path))
    except SourceError as error:
        return [Unmet(error.what, error.fix)]
    unmet = [
        Unmet(
            f"{what}, which nothing loads",
            f"leave it behind knowingly: memos-assets acknowledge {source.name} NAME --reason TEXT",
        )
        for what in behind
    ]
    if not unchanged:
        unmet.append(Unmet("it holds other rows than were loaded", again))
    if stale:
        unmet.append(Unmet(f"{stale} of its chunks are not loaded as it holds them", again))
    if open_rejects:
        counted = ", ".join(f"{reason} {count}" for reason, count in open_rejects.items())
        unmet.append(
            Unmet(
                f"{sum(open_rejects.values())} of its rows are open in the rejects: {counted}",
                "settle them, or pass --accept-open-rejects: the rejects keep the rows",
            )
        )
    return unmet


def _left_behind(conn: sa.Connection, path: Path, pin: Pin) -> list[str]:
    """Return what a file holds that nothing loads and nobody named, as its bytes are now."""
    with sqlite_file.opened(path) as connection:
        found = account(connection, pin.source, pin.kind, acknowledged(conn, [pin.source]))
    return [what.removeprefix(f"{pin.source}: ") for what in found.left]


def _open_rejects(conn: sa.Connection, source: registry.Source) -> dict[str, int]:
    reject = tables.rejects.c
    counted = conn.execute(
        sa.select(reject.reason, sa.func.count())
        .where(
            reject.target == source.kind.schema,
            reject.source == source.name,
            reject.resolution.is_(None),
        )
        .group_by(reject.reason)
        .order_by(reject.reason)
    )
    return {row[0]: row[1] for row in counted}


def _about_checks(source: registry.Source, checks: Sequence[CheckSeen]) -> list[Unmet]:
    unmet = []
    for seen in checks:
        about = f"{seen.check} on {seen.asset}"
        if not seen.evaluated_at:
            unmet.append(Unmet(f"{about} was never checked", "memos-assets verify"))
        elif not seen.passed:
            unmet.append(Unmet(f"{about}: {seen.observed}", "memos-assets verify says what to do"))
        elif not seen.proven:
            unmet.append(
                Unmet(f"{about} was checked before the last load or pin", "memos-assets verify")
            )
        elif seen.pins is not None and seen.pins.get(source.name) != source.pin_digest:
            unmet.append(Unmet(f"{about} was checked of another pin", "memos-assets verify"))
    return unmet


def manifest_of(engine: sa.Engine, candidate: Candidate) -> Manifest:
    """Return the manifest of a file that meets every condition.

    Raises:
        SourceError: M101 or M113 when the file cannot be read.
    """
    assert candidate.kind is not None
    status = candidate.path.stat()
    manifest = Manifest(
        name=candidate.name,
        kind=candidate.kind.name,
        is_source=candidate.source is not None,
        path=str(candidate.path),
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
        mode=stat.S_IMODE(status.st_mode),
        sha256=file_sha256(candidate.path),
        tables=dict(candidate.tables or {}),
        retired_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions={"memos-assets": version("memos-assets")},
    )
    if candidate.source is None:
        return manifest
    facts = check_server(engine)
    with engine.connect() as conn:
        pin = registry.pin_required(conn, candidate.source)
        rejects = _rejects(conn, candidate.source)
        load_runs = _load_runs(conn, candidate.source)
    checked: dict[str, set[str]] = {"loads": load_runs}
    for seen in candidate.checklist:
        checked.setdefault(seen.consolidation or "checks", set()).add(seen.run_id)
        behind = _left_behind(conn, candidate.path, pin)
    _require_content(candidate, pin, behind)
    return replace(
        manifest,
        tables=dict(pin.rows),
        pin_digest=pin.digest,
        consolidations={name: sorted(runs) for name, runs in checked.items()},
        checklist=tuple(
            {
                "claim": seen.check,
                "asset": seen.asset,
                "passed": seen.passed,
                "expected": seen.expected,
                "observed": seen.observed,
                "evaluated_at": seen.evaluated_at,
                "run": seen.run_id,
            }
            for seen in candidate.checklist
        ),
        rejects=rejects,
        versions={**manifest.versions, "postgresql": facts.server, "pgvector": facts.pgvector},
    )


def _require_content(candidate: Candidate, pin: Pin, behind: Sequence[str]) -> None:
    """Refuse a file that changed since it was checked; its digest was taken before this.

    The bytes of that digest are what is proven here and what is moved: its rows are those that were
    loaded, and every table of it is described.
    """
    if behind or not is_unchanged(replace(pin, origin=candidate.path)):
        raise SourceError(
            "M110",
            "not retired: the file changed after its check"
            + (f" and holds {behind[0]}, which nothing loads" if behind else ""),
            where=str(candidate.path),
            fix="stop memOS, consolidate again, then retire it",
        )


def _rejects(conn: sa.Connection, source: registry.Source) -> tuple[dict[str, Any], ...]:
    reject = tables.rejects.c
    names = ("table_name", "reason", "resolution")
    grouped = [reject[name] for name in names]
    return tuple(
        {**dict(zip(names, row[:3], strict=True)), "rows": row[3]}
        for row in conn.execute(
            sa.select(*grouped, sa.func.count())
            .where(reject.target == source.kind.schema, reject.source == source.name)
            .group_by(*grouped)
            .order_by(*grouped)
        )
    )


def _load_runs(conn: sa.Connection, source: registry.Source) -> set[str]:
    entry = tables.chunks.c
    return set(
        conn.execute(
            sa.select(entry.run_id)
            .where(entry.target == source.kind.schema, entry.source == source.name)
            .distinct()
        ).scalars()
    )
