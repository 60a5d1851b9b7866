"""A dry run: the content of each file and the outcome of a load. Reads all, writes nothing."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from memos_assets.catalog import FileKind, TableSpec
from memos_assets.consolidate.decoding.batches import integral_reals
from memos_assets.consolidate.decoding.reader import read_table, rejects_of
from memos_assets.consolidate.loading.summary import TableSummary
from memos_assets.consolidate.sources import layout as kind_layout
from memos_assets.consolidate.sources.chunks import chunk_rows_for
from memos_assets.consolidate.sources.discover import FoundFile
from memos_assets.losses import Loss, embedding_losses, row_losses
from memos_assets.sqlite import file as sqlite_file


@dataclass(slots=True)
class TableForecast:
    """The outcome that a load of one SQLite table would have.

    Attributes:
        source: name of the source.
        spec: the table.
        rows: rows in SQLite.
        rejects: reason -> rows that would not be loaded.
        null_embeddings: reason -> rows that would be loaded without an embedding.
        null_by_column: ``column: reason`` -> the same, as the ledger counts them.
        dimensions: (vector column, dimension) -> usable embeddings.
        mirrored: rows that would be added for the reverse direction.
        integral_reals: SQLite column -> REAL values that would be read as the integers they equal.
    """

    source: str
    spec: TableSpec
    rows: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    null_embeddings: Counter[str] = field(default_factory=Counter)
    null_by_column: Counter[str] = field(default_factory=Counter)
    dimensions: Counter[tuple[str, int]] = field(default_factory=Counter)
    mirrored: int = 0
    integral_reals: Counter[str] = field(default_factory=Counter)

    @property
    def losses(self) -> list[Loss]:
        """Rows and embeddings that would be lost, by reason."""
        source, table = self.source, self.spec.name
        return [
            *row_losses(source, table, self.rows, self.rejects),
            *embedding_losses(source, table, self.loaded, self.null_by_column),
        ]

    @property
    def loaded(self) -> int:
        """Rows that would be loaded, mirrored ones left out."""
        return self.rows - self.rejects.total()

    def strategies(self) -> Iterator[tuple[int, int, str]]:
        """Yield (dimension, embeddings, how they would be searched)."""
        for (column, dimension), count in sorted(self.dimensions.items()):
            vector = next(v for v in self.spec.vectors if v.name == column)
            served = {index.dimension: index for index in vector.indexes(self.spec.name)}
            if dimension in served:
                yield dimension, count, served[dimension].strategy
            elif not vector.indexed:
                yield dimension, count, f"exact scan ({vector.about.rstrip('.')})"
            else:
                fix = f"add it to {self.spec.name}.{column} in memos_assets/catalog"
                yield dimension, count, f"unknown dimension: loaded, not indexed. Fix: {fix}"


def forecast_file(file: FoundFile) -> list[TableForecast]:
    """Decode every row of a file as a load would, and count the outcomes.

    Raises:
        SourceError: M101 to M108, as `sqlite_file.opened`; M104 also when a table is damaged.
    """
    assert file.kind is not None
    with sqlite_file.opened(file.path) as connection:
        damaged = kind_layout.damage(connection, file.path, file.kind)
        if damaged is not None:
            raise damaged
    return [
        _forecast(file, file.kind, spec) for spec in file.kind.tables if spec.origin in file.tables
    ]


def chunk_count(file: FoundFile) -> tuple[int, int]:
    """Return (rowids per chunk, chunks) that the file would be cut into."""
    assert file.kind is not None
    with sqlite_file.opened(file.path) as connection:
        chunk_rows = chunk_rows_for(connection, file.kind, 0)
        highest = max(
            sqlite_file.highest_rowid(connection, spec.origin)
            for spec in file.kind.tables
            if spec.origin in file.tables
        )
    return chunk_rows, max(highest, 0) // chunk_rows + 1


def _forecast(file: FoundFile, kind: FileKind, spec: TableSpec) -> TableForecast:
    forecast = TableForecast(file.source, spec)
    for batch in read_table(spec, kind, file.path, file.source):
        rejects = rejects_of(batch)
        forecast.integral_reals += integral_reals(batch)
        forecast.rejects.update(str(reject["reason"]) for reject in rejects)
        if spec.mirrored:
            mirrored = batch.column("reversed").true_count
            forecast.mirrored += mirrored
            forecast.rows += batch.num_rows - mirrored
        else:
            forecast.rows += batch.num_rows
        for vector in spec.vectors:
            names = batch.column(vector.reason_name).to_pylist()
            dimensions = batch.column(vector.dimension_name).to_pylist()
            embedded = batch.column(vector.name).is_valid().to_pylist()
            forecast.null_embeddings.update(name for name in names if name)
            forecast.null_by_column.update(f"{vector.name}: {name}" for name in names if name)
            forecast.dimensions.update(
                (vector.name, dimension)
                for dimension, here in zip(dimensions, embedded, strict=True)
                if here
            )
    return forecast


def as_summary(forecast: TableForecast) -> TableSummary:
    """Return a forecast in the form in which the ledger is summed up after a load."""
    return TableSummary(
        source=forecast.source,
        table=forecast.spec.name,
        chunks=0,
        source_rows=forecast.rows,
        source_bytes=0,
        rows=forecast.loaded,
        rejected=forecast.rejects.total(),
        mirrored=forecast.mirrored,
        rejects=dict(sorted(forecast.rejects.items())),
        without_embedding=dict(sorted(forecast.null_embeddings.items())),
    )
