"""V46 to V50: snapshots restore, are young and whole, name no erased user, and leave nothing out.

Each reads the store that the settings name. A store without any snapshot fails V47 alone: there is
nothing that the others could be wrong about.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from memos_assets.catalog import Catalog
from memos_assets.catalog.application import APPLICATION_SCHEMA
from memos_assets.check import AnyCheck, Check, CheckContext, Subject
from memos_assets.errors import MemosAssetsError
from memos_assets.finding import Finding
from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.snapshots import keep, marks
from memos_assets.snapshots.columns import SnapshotTable, read_tables
from memos_assets.snapshots.coverage import coverage_of
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.restore.scratch import prove_in_scratch
from memos_assets.snapshots.rewrite import erased_users, find_erased
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import ensure_bytes

_LISTED: Final = 10
_NONE: Final = "no snapshot was written so far"


def _store(context: CheckContext) -> Store:
    return open_store(context.settings.snapshots_location)


def _newest(store: Store) -> Manifest | None:
    dated = keep.moments(store.manifests())
    return dated[0][1] if dated else None


def restores_exactly(context: CheckContext, _: None) -> Finding:
    """V46: the newest snapshot that is not of today is restored into a scratch schema.

    Of a store that is a day old there is none yet, and the newest is taken.
    """
    expected = "tables of a restore into a scratch schema have the digests of the snapshot"
    try:
        store = _store(context)
        dated = keep.moments(store.manifests())
        if not dated:
            return Finding(passed=True, expected=expected, observed=_NONE)
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        manifest = next((one for at, one, _ in dated if at < today), dated[0][1])
        proof = prove_in_scratch(context.engine, store, manifest)
    except MemosAssetsError as error:
        return _not_read(expected, error)
    return Finding(
        passed=True,
        expected=expected,
        observed=f"{len(proof.tables)} tables with {proof.rows:,} rows have its digests",
        evidence={
            "snapshot": manifest.id,
            "made at": manifest.made_at,
            "tables": list(proof.tables),
            "rows": proof.rows,
            "not restored": list(proof.left),
            "seconds": round(proof.seconds, 1),
        },
    )


def newest_verified_is_young(context: CheckContext, _: None) -> Finding:
    """V47: a snapshot that holds recent memory was verified by a second reader."""
    limit = timedelta(hours=context.settings.snapshots_fresh_hours)
    expected = f"a verified snapshot that is younger than {limit.total_seconds() / 3600:g} hours"
    try:
        store = _store(context)
        verified = marks.verified(store)
        dated = keep.moments(store.manifests())
    except MemosAssetsError as error:
        return _not_read(expected, error)
    found = next(((at, one) for at, one, _ in dated if one.id in verified), None)
    evidence: dict[str, object] = {"snapshots": len({one.id for _, one, _ in dated})}
    if found is None:
        return Finding(
            passed=False,
            expected=expected,
            observed="none was verified" if dated else _NONE,
            evidence=evidence,
        )
    at, manifest = found
    age = datetime.now(UTC) - at
    evidence |= {"snapshot": manifest.id, "verified at": verified[manifest.id].isoformat()}
    observed = f"the newest is {age.total_seconds() / 3600:.1f} hours old"
    return Finding(age <= limit, expected, observed, evidence)


def files_are_whole(context: CheckContext, _: None) -> Finding:
    """V48: every file of every snapshot in the store has the bytes that were written."""
    expected = "every file of every snapshot is there, with the bytes that were written"
    damaged: list[MemosAssetsError] = []
    manifests: list[Manifest] = []
    entries: dict[str, TableEntry] = {}
    try:
        store = _store(context)
        manifests, unreadable = store.readable()
        damaged += unreadable.values()
        for manifest in manifests:
            # Two manifests may state other bytes of one file; both are read.
            entries |= {f"{one.file} {one.sha256}": one for one in manifest.tables}
        for entry in entries.values():
            try:
                ensure_bytes(store, entry)
            except MemosAssetsError as error:
                damaged.append(error)
    except MemosAssetsError as error:
        return _not_read(expected, error)
    observed = f"{len(damaged)} of {len(entries)} files and {len(store.ids())} manifests are not"
    return Finding(
        not damaged,
        expected,
        observed if damaged else f"{len(entries)} files of {len(manifests)} snapshots",
        evidence={
            "files": len(entries),
            "bytes": sum(entry.bytes for entry in entries.values()),
            "damaged": [{"code": one.code, "file": one.where} for one in damaged[:_LISTED]],
        },
    )


def no_erased_user_is_inside(context: CheckContext, _: None) -> Finding:
    """V49: no snapshot of before an erasure names the user who was erased."""
    expected = "no snapshot of before an erasure names the erased user"
    try:
        store = _store(context)
        with context.engine.connect() as conn:
            erased = erased_users(conn)
        found = find_erased(store, erased)
    except MemosAssetsError as error:
        return _not_read(expected, error)
    snapshots = sorted({one.snapshot for one in found})
    return Finding(
        not found,
        expected,
        f"{len(snapshots)} snapshots do" if found else f"none, of {len(erased)} erased users",
        # Digests of users are personal data, too; the command finds them again.
        evidence={
            "snapshots": snapshots[:_LISTED],
            "tables": sorted({one.table for one in found}),
            "erased users inside": len({one.digest for one in found}),
        },
    )


def coverage_is_complete(context: CheckContext, _: None) -> Finding:
    """V50: every table is classified, and the newest snapshot has all that it should have."""
    expected = "every table is classified, and the newest snapshot has their columns"
    try:
        with context.engine.connect() as conn:
            tables = read_tables(conn, AGENT_SCHEMA, APPLICATION_SCHEMA)
        newest = _newest(_store(context))
    except MemosAssetsError as error:
        return _not_read(expected, error)
    unknown = [one for one in tables if coverage_of(one.schema, one.name) is None]
    undecided = [one.qualified for one in unknown if one.schema == AGENT_SCHEMA]
    missing = {} if newest is None else _missing(newest, tables)
    observed = ", ".join(
        part
        for part in (
            f"{len(undecided)} tables are not classified" if undecided else "",
            f"{len(missing)} tables are not, or not whole, in the newest snapshot"
            if missing
            else "",
        )
        if part
    )
    return Finding(
        not undecided and not missing,
        expected,
        observed or f"{len(tables) - len(unknown)} tables",
        evidence={
            "not classified": undecided,
            "missing in the newest snapshot": missing,
            # Tables of others in schema `public`: their owners keep them.
            "of others": [one.qualified for one in unknown if one.schema != AGENT_SCHEMA],
        },
    )


def _missing(newest: Manifest, tables: Sequence[SnapshotTable]) -> Mapping[str, list[str]]:
    """Return table -> columns that the newest snapshot lacks; all of them where it is not there."""
    missing = {}
    for table in tables:
        coverage = coverage_of(table.schema, table.name)
        if coverage is None or coverage.of != "snapshot":
            continue
        entry = newest.entry(table.qualified)
        there = set(entry.columns) if entry else set()
        lost = [name for name, of in table.columns.items() if (name, of) not in there]
        if lost:
            missing[table.qualified] = lost
    return missing


def _not_read(expected: str, error: MemosAssetsError) -> Finding:
    """Return the finding of snapshots that cannot be read: nothing is known of them."""
    evidence = {"code": error.code, "where": error.where, "fix": error.fix}
    return Finding(
        passed=False, expected=expected, observed=f"{error.code} {error.what}", evidence=evidence
    )


def _snapshots(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.snapshot("memory"), None, "snapshots_checks")


def _age(catalog: Catalog) -> Iterator[Subject[None]]:
    """Yield the asset that verifies: of one that was just written the check would be red."""
    if catalog.application:
        yield Subject(catalog.names.snapshot("verified"), None, "snapshot_age_check")


def _proof(catalog: Catalog) -> Iterator[Subject[None]]:
    if catalog.application:
        yield Subject(catalog.names.snapshot("memory"), None, "snapshot_restore_check")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=46,
        name="v46_yesterdays_snapshot_restores_exactly",
        title="The newest snapshot of before today restores into a scratch schema with its id.",
        fix="memos-assets snapshots verify ID names damaged files; restore them from a copy of the "
        "store, or write a snapshot",
        where="the snapshots of memory",
        reads="every file of one snapshot, and the rows of the scratch schema that they were "
        "loaded into",
        when_failed="A snapshot that cannot be restored is not a copy. `memos-assets snapshots "
        "verify ID` tells whether its files are damaged; with whole files the schema has changed "
        "in a way that a restore does not bridge.",
        subjects=_proof,
        judge=restores_exactly,
        group="snapshots",
    ),
    Check(
        number=47,
        name="v47_newest_verified_snapshot_is_young",
        title="The newest verified snapshot is younger than `MEMOS_SNAPSHOTS_FRESH_HOURS`.",
        fix="run the job snapshot_memory, or memos-assets snapshots write and verify; start its "
        "schedule",
        where="the snapshots of memory",
        reads="manifests, and the marks that verifications leave",
        when_failed="What agents learned since would be lost with the database. Start the schedule "
        "`snapshot_memory`, which writes and verifies.",
        subjects=_age,
        judge=newest_verified_is_young,
        group="snapshots",
    ),
    Check(
        number=48,
        name="v48_files_of_snapshots_are_whole",
        title="All files of all snapshots in the store are there, with the bytes that were "
        "written.",
        fix="restore the files from a copy of the store; write a snapshot where their rows are "
        "still live",
        where="the snapshots of memory",
        reads="every file once, and its SHA-256 in the manifests",
        when_failed="Snapshots share files of tables that did not change, so a damaged one damages "
        "several. Restore it from a copy of the store.",
        subjects=_snapshots,
        judge=files_are_whole,
        group="snapshots",
    ),
    Check(
        number=49,
        name="v49_no_erased_user_is_in_a_snapshot",
        title="No snapshot of before an erasure names the user who was erased.",
        fix="memos-assets user erasures --finish",
        where="the snapshots of memory",
        reads="the columns of files that name users, and the tombstones of erased users",
        when_failed="An erasure was interrupted, or could not read a snapshot. "
        "`memos-assets user erasures --finish` takes the rows out.",
        subjects=_snapshots,
        judge=no_erased_user_is_inside,
        group="snapshots",
    ),
    Check(
        number=50,
        name="v50_snapshots_leave_nothing_out",
        title="Every table of agents is classified, and the newest snapshot has every table and "
        "column that it should have.",
        fix="classify the table in memos_assets/snapshots/coverage.py; write a snapshot",
        where="the snapshots of memory",
        reads="the columns of schemas `agent` and `public`, and the newest manifest",
        when_failed="A migration added a table or a column after the newest snapshot, or a table "
        "that nobody has classified. Write a snapshot; it names in its manifest what it leaves "
        "out.",
        subjects=_snapshots,
        judge=coverage_is_complete,
        group="snapshots",
    ),
)
