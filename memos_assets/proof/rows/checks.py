"""V01 to V05, V08 to V10 and V12: rows, links and files, each read on both sides.

A table is read once for all of its checks, and the pins of a kind once for both of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind, TableSpec
from memos_assets.check import AnyCheck, Check, CheckContext, Judge, Subject
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import DROP
from memos_assets.proof.expected.rejects import rejected_rows
from memos_assets.proof.rows import findings
from memos_assets.proof.rows.compare import SourceProof, prove_table
from memos_assets.proof.rows.links import LinkProof, prove_links
from memos_assets.proof.rows.sources import source_accounted_for, source_unchanged


def pins_of(context: CheckContext, kind: FileKind) -> list[Pin]:
    """Return the pins of every registered source of a kind of file.

    Raises:
        SourceError: M107 a pinned copy is gone.
    """
    with context.engine.connect() as conn:
        sources = registry.registered_sources(conn, [context.catalog.kind(kind.name)])
        return [registry.pin_required(conn, source) for source in sources]


class TableReading:
    """Both sides of one table, read once, when the first check needs them.

    Attributes:
        spec: the table.
        pins: of the sources of its kind.
    """

    def __init__(self, context: CheckContext, spec: TableSpec) -> None:
        self._engine = context.engine
        self.spec = spec
        self.pins = context.read_once(pins_of, context.catalog.kind_of_table(spec.name))

    @cached_property
    def proofs(self) -> list[SourceProof]:
        """The comparison of every source with PostgreSQL, row by row."""
        with self._engine.connect() as conn:
            return [prove_table(conn, self.spec, pin) for pin in self.pins]

    @cached_property
    def links(self) -> list[LinkProof]:
        """The links of every source, both ends checked."""
        with self._engine.connect() as conn:
            return [prove_links(conn, self.spec, pin) for pin in self.pins]

    def row_counts(self) -> Finding:
        """Return the result of V01."""
        sources = [pin.source for pin in self.pins]
        with self._engine.connect() as conn:
            foreign = _foreign_rows(conn, self.spec, sources)
            undecided = _undecided(conn, self.spec, sources)
        return findings.row_counts(self.proofs, foreign, undecided)

    def indexed(self) -> Finding:
        """Return the result of V10."""
        with self._engine.connect() as conn:
            return _indexed(conn, self.spec)

    def settled(self) -> Finding:
        """Return the result of V12."""
        with self._engine.connect() as conn:
            return _settled(conn, self.spec)


def _by_table(judge: Callable[[TableReading], Finding]) -> Judge[TableSpec]:
    """Return a table's judge whose evidence names the pins, which a retirement reads."""

    def judged(context: CheckContext, spec: TableSpec) -> Finding:
        reading = context.read_once(TableReading, spec)
        finding = judge(reading)
        pins = {pin.source: pin.digest for pin in reading.pins}
        return replace(finding, evidence={**finding.evidence, "pins": pins})

    return judged


def _by_pins(judge: Callable[[Sequence[Pin]], Finding]) -> Judge[FileKind]:
    return lambda context, kind: judge(context.read_once(pins_of, kind))


def _sources(catalog: Catalog) -> Iterator[Subject[FileKind]]:
    for kind in catalog.consolidated:
        yield Subject(catalog.names.source(kind.name), kind, _step(kind))


def _tables(
    has: Callable[[TableSpec], object],
) -> Callable[[Catalog], Iterator[Subject[TableSpec]]]:
    """Return the subjects of a check of those tables for which a condition holds."""

    def subjects(catalog: Catalog) -> Iterator[Subject[TableSpec]]:
        for kind in catalog.consolidated:
            for spec in filter(has, kind.tables):
                yield Subject(catalog.names.table(spec.name), spec, _step(kind))

    return subjects


def _step(kind: FileKind) -> str:
    return f"{kind.name}_rows"


def _foreign_rows(conn: sa.Connection, spec: TableSpec, sources: Sequence[str]) -> int:
    """Count rows of sources that are not registered."""
    table = table_of(spec)
    return count_rows(conn, table, table.c.source.not_in(sources))


def _undecided(conn: sa.Connection, spec: TableSpec, sources: Sequence[str]) -> list[str]:
    """Name the rejects whose resolution no decision explains."""
    return [
        f"{source}: settled without a decision: rowid {rowid}, as {entry.resolution}"
        for source in sources
        for rowid, entry in sorted(rejected_rows(conn, spec, source).items())
        if not entry.is_decided
    ]


def _indexed(conn: sa.Connection, spec: TableSpec) -> Finding:
    table = table_of(spec)
    served = 0
    left: dict[str, int] = {}
    for vector in spec.vectors:
        if not vector.indexed:
            continue
        dimension = table.c[vector.dimension_name]
        for value, count in conn.execute(
            sa.select(dimension, sa.func.count())
            .where(table.c[vector.reason_name].is_(None))
            .group_by(dimension)
        ):
            if value in vector.dimensions:
                served += count
            else:
                left[f"{vector.name} {value}"] = count
    return Finding(
        not left,
        expected="0 embeddings of a dimension without an index",
        observed=f"{sum(left.values())} without, {served} served",
        evidence={"served": served, "without_index": left},
    )


def _settled(conn: sa.Connection, spec: TableSpec) -> Finding:
    """V12: count the open, dropped and repaired rejects."""
    entry = tables.rejects.c
    opened: dict[str, int] = {}
    dropped: dict[str, int] = {}
    repaired: dict[str, int] = {}
    for reason, resolution, count in conn.execute(
        sa.select(entry.reason, entry.resolution, sa.func.count())
        .where(entry.target == tables.schema_in(conn, spec.schema), entry.table_name == spec.name)
        .group_by(entry.reason, entry.resolution)
        .order_by(entry.reason, entry.resolution)
    ):
        into = opened if resolution is None else dropped if resolution == DROP else repaired
        into[reason] = into.get(reason, 0) + count
    by_reason = ", ".join(f"{reason} {count}" for reason, count in opened.items())
    settled = f"{sum(dropped.values())} dropped, {sum(repaired.values())} repaired"
    return Finding(
        not opened,
        expected="0 open",
        observed=f"{sum(opened.values())} open{': ' if opened else ''}{by_reason}; {settled}",
        evidence={
            "open_rejects": sum(opened.values()),
            "open": opened,
            "dropped": dropped,
            "repaired": repaired,
        },
    )


_every_table = _tables(lambda _: True)

CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=1,
        name="v01_row_counts_match",
        title="Every source row is loaded or rejected, once, in every chunk, and nothing else is "
        "there.",
        fix="load the named chunks again: memos-assets consolidate --reload",
        where="each table",
        reads="every rowid on both sides, the rejects (with the digest of the source row), the "
        "ledger per chunk, rows of unregistered sources",
        when_failed="The named rows are missing, extra, or rejected and loaded, or the ledger "
        "disagrees: `memos-assets consolidate --reload`.",
        subjects=_every_table,
        judge=_by_table(TableReading.row_counts),
    ),
    Check(
        number=2,
        name="v02_rows_match_bit_for_bit",
        title="Every row read from SQLite and from PostgreSQL is the same, vectors bit for bit.",
        fix="load the named rows again: memos-assets consolidate --reload",
        where="each table",
        reads="every compared column of every row, vectors and texts as bytes, JSON by value; one "
        "digest per side",
        when_failed="Rowid, column and the first differing bytes are named: `memos-assets "
        "consolidate --reload`. If it comes back, the decoder is wrong.",
        subjects=_every_table,
        judge=_by_table(lambda table: findings.bit_for_bit(table.proofs)),
    ),
    Check(
        number=3,
        name="v03_derived_columns_recompute",
        title="Columns that are not copied follow from those that are, on every row.",
        fix="keep the source file: its derived columns hold something that float16 does not",
        where="tables with derived columns",
        reads="binary, int8, residual and scale, recomputed from float16",
        when_failed="The file holds something that float16 does not: keep it, and look at the "
        "named rows.",
        subjects=_tables(lambda spec: spec.derivation),
        judge=_by_table(lambda table: findings.derived(table.proofs)),
    ),
    Check(
        number=4,
        name="v04_embedded_rows_match",
        title="As many rows have a non-NULL, non-zero embedding in PostgreSQL as in SQLite.",
        fix="load again: memos-assets consolidate --reload; each NULL must carry a reason",
        where="tables with vectors",
        reads="usable embeddings in SQLite, non-NULL and non-zero ones in PostgreSQL",
        when_failed="Rows were loaded without their vectors: `memos-assets consolidate --reload`.",
        subjects=_tables(lambda spec: spec.vectors),
        judge=_by_table(lambda table: findings.embedded(table.proofs)),
    ),
    Check(
        number=5,
        name="v05_links_lead_somewhere",
        title="No link dangles: its ends exist, or its row is in the rejects, or names the loose "
        "end.",
        fix="load the linked table, then this one again: memos-assets consolidate --reload",
        where="tables with links",
        reads="both ends of every link; each dangling reject looked up in SQLite; reversed twins",
        when_failed="Load the linked table first, then `memos-assets consolidate --reload`.",
        subjects=_tables(lambda spec: spec.links),
        judge=_by_table(lambda table: findings.links(table.links)),
    ),
    Check(
        number=8,
        name="v08_source_unchanged_since_pin",
        title="The file still holds what was pinned and loaded.",
        fix="memOS wrote to it meanwhile: consolidate again, only changed chunks are copied",
        where="each kind of file",
        reads="the original file again, a retired one in the archive: bytes, and if they differ, "
        "content",
        when_failed="memOS wrote meanwhile: consolidate again; only changed chunks are copied.",
        subjects=_sources,
        judge=_by_pins(source_unchanged),
    ),
    Check(
        number=9,
        name="v09_source_is_accounted_for",
        title="No table or column of the file is left behind unnamed.",
        fix="describe the table or column in memos_assets/catalog, then consolidate again",
        where="each kind of file",
        reads="tables and columns of the pinned copy and of the file as it is now, against the "
        "catalog",
        when_failed="Describe the table or column in `memos_assets/catalog`.",
        subjects=_sources,
        judge=_by_pins(source_accounted_for),
    ),
    Check(
        number=10,
        name="v10_embeddings_are_indexed",
        title="Every embedding has a dimension that an index serves.",
        fix="add the dimension to the table's VectorColumn in memos_assets/catalog",
        where="tables with vector indexes",
        reads="dimensions of all embeddings",
        when_failed="Add the dimension to the table's `VectorColumn`.",
        subjects=_tables(lambda spec: spec.vector_indexes),
        judge=_by_table(TableReading.indexed),
    ),
    Check(
        number=12,
        name="v12_rejects_are_settled",
        title="No row waits in the rejects: each was repaired in its file, or somebody decided on "
        "it.",
        fix="see what is open and what may be decided: memos-assets rejects list",
        where="each table",
        reads="`memos_ops.rejects`: rows that are open, dropped, repaired, by reason",
        when_failed="A warning, nothing is wrong: `memos-assets rejects list` shows the open rows "
        "and the rules that may be decided.",
        subjects=_every_table,
        judge=_by_table(TableReading.settled),
        severity="warning",
        left_to_do="open_rejects",
    ),
)
