"""V01 to V05, V08 to V10, V12 and V27: rows, links and files, each read on both sides.

A table is read once for all of its checks, and the pins of a kind once for both of its own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind, TableSpec
from memos_assets.catalog.tables import SEARCH_TEXT
from memos_assets.check import AnyCheck, Check, CheckContext, Judge, Subject
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.acknowledged import acknowledged
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.finding import Finding
from memos_assets.postgres.connection import count_rows
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import table_of
from memos_assets.postgres.schema.tables import DROP
from memos_assets.proof.rows import findings
from memos_assets.proof.rows.compare import SourceProof, prove_table
from memos_assets.proof.rows.decided_losses import (
    decided_counts,
    losses_of,
    no_reading_takes_much,
)
from memos_assets.proof.rows.ledger import ledger_recomputes, prove_ledger
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
        return findings.row_counts(self.proofs, foreign)

    def rows(self) -> Finding:
        """Return the result of V02."""
        with self._engine.connect() as conn:
            return findings.bit_for_bit(self.proofs, _other_search_texts(conn, self.spec))

    def ledger(self) -> Finding:
        """Return the result of V27."""
        with self._engine.connect() as conn:
            proofs = {pin.source: prove_ledger(conn, self.spec, pin) for pin in self.pins}
            return ledger_recomputes(proofs, _strangers(conn, self.spec, list(proofs)))

    def indexed(self) -> Finding:
        """Return the result of V10."""
        with self._engine.connect() as conn:
            return _indexed(conn, self.spec)

    def lost(self) -> Finding:
        """Return the result of V30."""
        with self._engine.connect() as conn:
            decided = decided_counts(conn, self.spec)
        return no_reading_takes_much(list(losses_of(self.spec, self.proofs)), decided)

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


def _accounted_for(context: CheckContext, kind: FileKind) -> Finding:
    pins = context.read_once(pins_of, kind)
    with context.engine.connect() as conn:
        return source_accounted_for(pins, acknowledged(conn, [pin.source for pin in pins]))


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


def _strangers(conn: sa.Connection, spec: TableSpec, sources: Sequence[str]) -> list[str]:
    """Name the sources that the ledger of a table has and the registry has not."""
    entry = tables.chunks.c
    found = conn.execute(
        sa.select(entry.source)
        .where(
            entry.target == tables.schema_in(conn, spec.schema),
            entry.table_name == spec.name,
            entry.source.not_in(sources),
        )
        .distinct()
        .order_by(entry.source)
    )
    return list(found.scalars())


def _other_search_texts(conn: sa.Connection, spec: TableSpec) -> list[str]:
    """Name the rows whose generated words for search are not what their texts give today.

    PostgreSQL keeps what it generated when the row was written. V15 checks the functions.
    """
    table = table_of(spec)
    generated = table.c.get(SEARCH_TEXT)
    if generated is None or generated.computed is None:
        return []
    found = conn.execute(
        sa.select(table.c.source, table.c.source_rowid)
        .where(generated.is_distinct_from(sa.literal_column(str(generated.computed.sqltext))))
        .order_by(table.c.source, table.c.source_rowid)
    )
    return [f"{source}: differs: rowid {rowid} {SEARCH_TEXT}" for source, rowid in found]


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
        title="Every source row is loaded or rejected for a reason that it has, once, in every "
        "chunk, and nothing else is there.",
        fix="load the named chunks again: memos-assets consolidate --reload --table TABLE",
        where="each table",
        reads="every rowid on both sides; each row in the rejects, judged anew from the pinned "
        "file: its digest, whether it can be loaded, its reason, the decision that settled it; "
        "the ledger per chunk; rows of unregistered sources",
        when_failed="The named rows are missing, extra, rejected and loaded, or rejected wrongly, "
        "or the ledger disagrees: `memos-assets consolidate --reload`.",
        subjects=_every_table,
        judge=_by_table(TableReading.row_counts),
    ),
    Check(
        number=2,
        name="v02_rows_match_bit_for_bit",
        title="Every row read from SQLite and from PostgreSQL is the same, vectors bit for bit.",
        fix="load the named rows again: memos-assets consolidate --reload --table TABLE "
        "--source NAME",
        where="each table",
        reads="every compared column of every row, vectors and texts as bytes, JSON by value; one "
        "digest per side; the words for search, generated again from the texts",
        when_failed="Rowid, column and the first differing bytes are named: `memos-assets "
        "consolidate --reload`. If it comes back, the decoder is wrong.",
        subjects=_every_table,
        judge=_by_table(TableReading.rows),
    ),
    Check(
        number=3,
        name="v03_derived_columns_recompute",
        title="Columns that are not copied follow from those that are, on every row with a usable "
        "float16; the others are counted.",
        fix="keep the source file: its derived columns hold something that float16 does not",
        where="tables with derived columns",
        reads="binary, int8, residual and scale, recomputed from float16; rows without a usable "
        "one, and those among them whose derived values are in the file alone",
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
        fix="leave it behind knowingly: memos-assets acknowledge SOURCE TABLE[.COLUMN] --reason "
        "TEXT; or describe it in memos_assets/catalog, then consolidate again",
        where="each kind of file",
        reads="tables and columns of the pinned copy and of the file as it is now, against the "
        "catalog; what was acknowledged. "
        "Tables of an FTS5 index over a table of the catalog count as that table",
        when_failed="Leave the table or column behind knowingly, with a reason that the report "
        "shows: `memos-assets acknowledge SOURCE TABLE[.COLUMN] --reason TEXT`. Or describe it in "
        "`memos_assets/catalog`.",
        subjects=_sources,
        judge=_accounted_for,
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
    Check(
        number=30,
        name="v30_no_reading_takes_much_of_a_table",
        title="No reason of our reading takes all of a table's rows or embeddings, or five and "
        "more than 5 %, unless somebody decided on so many.",
        fix="see what is lost, and decide on it with its count: memos-assets rejects list",
        where="each table",
        reads="the pinned file: rows in the rejects and embeddings that are NULL, by reason and "
        "source; what was decided, and on how many",
        when_failed="A whole column may be of another class than the catalog says: repair the file "
        "or the catalog. If the loss is right, `memos-assets rejects decide` or `memos-assets "
        "rejects accept` says so for so many; more of them fail again. Embeddings that are "
        "missing, empty, zero or NaN, links that lead nowhere, keys that are NULL and NUL in texts "
        "are facts of the file, and only named.",
        subjects=_every_table,
        judge=_by_table(TableReading.lost),
    ),
    Check(
        number=27,
        name="v27_ledger_recomputes",
        title="Every column of the ledger follows from the pinned file, the rows and the rejects.",
        fix="load the named chunks again: memos-assets consolidate --reload --table TABLE",
        where="each table",
        reads="digest, counts, rules and bounds of every chunk in `memos_ops.chunks`, computed "
        "again from the pinned copy, the table, the rejects and the decisions; its code version "
        "among those of this table; its time by the server's clock, after its source was "
        "registered and not in the future",
        when_failed="The ledger was changed, or is of other rows: chunk and column are named. "
        "`memos-assets consolidate --reload` writes it anew with the rows.",
        subjects=_every_table,
        judge=_by_table(TableReading.ledger),
    ),
)
