"""Python types in which rows enter and leave assets: one mapping from a type to its handlers.

Every I/O manager derives from it what it reads and writes: a handler names the kind of rows that it
is of, and an I/O manager has rows of one kind.

A matrix of NumPy is not among them: it would hold embeddings without the keys that they belong to.
In a frame and in a table they are beside their keys.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.dataset as ds

from memos_assets.defs.table_reference import TableReference
from memos_assets.errors import UsageError
from memos_assets.snapshots.reference import Selection, SnapshotReference

if TYPE_CHECKING:
    import pandas as pd


class Rows(ABC):
    """The rows that an input means, none of them read yet."""

    @property
    @abstractmethod
    def schema(self) -> pa.Schema:
        """Their columns."""

    @abstractmethod
    def batches(self) -> Iterator[pa.RecordBatch]:
        """Begin to read them; what they are read from is busy until the last batch."""


@dataclass(frozen=True, slots=True)
class TableRows(Rows):
    """Rows of a table in PostgreSQL.

    Attributes:
        reference: which they are.
        columns: of them.
        read: begins to read them.
    """

    reference: TableReference
    columns: pa.Schema
    read: Callable[[], Iterator[pa.RecordBatch]]

    @property
    def schema(self) -> pa.Schema:
        """Their columns."""
        return self.columns

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Begin to read them; the connection is busy until the last batch."""
        return self.read()


@dataclass(frozen=True, slots=True)
class SnapshotRows(Rows):
    """Rows of a snapshot.

    Attributes:
        reference: the snapshot.
        select: returns which rows and columns of it; it raises where the input does not say so.
    """

    reference: SnapshotReference
    select: Callable[[], Selection]

    @property
    def schema(self) -> pa.Schema:
        """The selected columns."""
        return self.reference.schema(self.select())

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Begin to read the selected columns of the selected rows."""
        return self.reference.batches(self.select())

    def dataset(self) -> ds.Dataset:
        """Return a dataset of them."""
        return self.reference.dataset(self.select())


@dataclass(frozen=True, slots=True)
class Handler:
    """How rows are read as a Python type, and written from it; None where they are not.

    Attributes:
        name: of the type, as messages spell it.
        reads: kind of rows that are read as the type.
        read: makes a value of the type.
        writes: kind of rows that are written from the type.
        write: makes of a value what the I/O manager of such rows writes.
    """

    name: str
    reads: type[Rows] | None = None
    read: Callable[[Any], object] | None = None
    writes: type[Rows] | None = None
    write: Callable[[Any], Any] | None = None


def _stream(rows: Rows) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(rows.schema, rows.batches())


def _table(rows: Rows) -> pa.Table:
    return pa.Table.from_batches(list(rows.batches()), rows.schema)


def _frame(rows: Rows) -> "pd.DataFrame":
    frame: pd.DataFrame = _table(rows).to_pandas()
    return frame


def _reference(rows: TableRows | SnapshotRows) -> TableReference | SnapshotReference:
    return rows.reference


def _itself(value: Any) -> Any:
    return value


#: Package and name of a type -> its handler. By name, so that pandas is imported by those who ask
#: for its frames alone.
HANDLERS: Final[Mapping[tuple[str, str], Handler]] = {
    ("pyarrow", "Table"): Handler("pyarrow.Table", Rows, _table, TableRows, pa.Table.to_reader),
    ("pyarrow", "RecordBatchReader"): Handler(
        "pyarrow.RecordBatchReader", Rows, _stream, TableRows, _itself
    ),
    ("pyarrow", "Dataset"): Handler("pyarrow.dataset.Dataset", SnapshotRows, SnapshotRows.dataset),
    ("pandas", "DataFrame"): Handler("pandas.DataFrame", Rows, _frame),
    ("memos_assets", "TableReference"): Handler("TableReference", TableRows, _reference),
    ("memos_assets", "SnapshotReference"): Handler("SnapshotReference", SnapshotRows, _reference),
    ("memos_assets", "Snapshot"): Handler("Snapshot", writes=SnapshotRows, write=_itself),
}


def read_as(wanted: object, rows: Rows, where: str) -> object:
    """Return rows as what the annotation of an input asks for.

    Args:
        wanted: the annotation.
        rows: that the input means.
        where: of the rows, for people.

    Raises:
        UsageError: M531 they cannot be read as such a type.
    """
    handler = _handler_of(wanted)
    if (
        handler is None
        or handler.read is None
        or handler.reads is None
        or not isinstance(rows, handler.reads)
    ):
        names = [one.name for one in HANDLERS.values() if one.reads and isinstance(rows, one.reads)]
        raise UsageError(
            "M531",
            f"cannot be read as {getattr(wanted, '__name__', wanted)}",
            where=where,
            fix=f"annotate the input as {_any_of(names)}",
        )
    return handler.read(rows)


def written_as(value: object, kind: type[Rows], where: str) -> Any:
    """Return what the I/O manager of a kind of rows writes of a value that an asset returned.

    Args:
        value: that the asset returned.
        kind: of rows that the I/O manager writes.
        where: they are written, for people.

    Raises:
        UsageError: M531 it writes nothing from such a type.
    """
    handler = _handler_of(type(value))
    if handler is None or handler.write is None or handler.writes is not kind:
        names = [one.name for one in HANDLERS.values() if one.writes is kind]
        raise UsageError(
            "M531",
            f"cannot be written from {type(value).__name__}",
            where=where,
            fix=f"return a {_any_of(names, ' or a ')}",
        )
    return handler.write(value)


def _handler_of(wanted: object) -> Handler | None:
    """Return the handler of a type, or of the nearest type that it derives from."""
    for base in getattr(wanted, "__mro__", ()):
        handler = HANDLERS.get((base.__module__.partition(".")[0], base.__qualname__))
        if handler is not None:
            return handler
    return None


def _any_of(names: list[str], conjunction: str = " or ") -> str:
    return conjunction.join(part for part in (", ".join(names[:-1]), names[-1]) if part)
