"""Python types in which rows enter and leave an asset: one mapping from a type to its handler.

A matrix of NumPy is not among them: it would hold embeddings without the keys that they belong to.
In a frame and in a table they are beside their keys.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from memos_assets.defs.table_reference import TableReference

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows that an input means, none of them read yet.

    Attributes:
        reference: which they are.
        schema: their columns.
        batches: begins to read them; the connection is busy until the last batch.
    """

    reference: TableReference
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class Handler:
    """How rows are read as a Python type, and written from it; None where they are not.

    Attributes:
        name: of the type, as messages spell it.
        read: makes a value of the type.
        write: makes a stream of a value of the type.
    """

    name: str
    read: Callable[[Rows], object] | None = None
    write: Callable[[Any], pa.RecordBatchReader] | None = None


def _stream(rows: Rows) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(rows.schema, rows.batches())


def _table(rows: Rows) -> pa.Table:
    return pa.Table.from_batches(list(rows.batches()), rows.schema)


def _frame(rows: Rows) -> "pd.DataFrame":
    frame: pd.DataFrame = _table(rows).to_pandas()
    return frame


#: Package and name of a type -> its handler. By name, so that pandas is imported by those who ask
#: for its frames alone.
HANDLERS: Final[Mapping[tuple[str, str], Handler]] = {
    ("pyarrow", "Table"): Handler("pyarrow.Table", _table, pa.Table.to_reader),
    ("pyarrow", "RecordBatchReader"): Handler(
        "pyarrow.RecordBatchReader", _stream, lambda reader: reader
    ),
    ("pandas", "DataFrame"): Handler("pandas.DataFrame", _frame),
    ("memos_assets", "TableReference"): Handler("TableReference", lambda rows: rows.reference),
}
READABLE: Final = [handler.name for handler in HANDLERS.values() if handler.read]
WRITABLE: Final = [handler.name for handler in HANDLERS.values() if handler.write]


def handler_of(wanted: object) -> Handler | None:
    """Return the handler of a type, or of the nearest type that it derives from."""
    for base in getattr(wanted, "__mro__", ()):
        handler = HANDLERS.get((base.__module__.partition(".")[0], base.__qualname__))
        if handler is not None:
            return handler
    return None
