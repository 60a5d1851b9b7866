"""A snapshot by name: what somebody gets who asks for no rows, and from which rows are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from memos_assets.errors import SnapshotError
from memos_assets.snapshots import reader
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.store import Store

#: Rows of a batch. An embedding of 4,096 elements is 16 KB.
BATCH_ROWS: Final = 512
#: Comparisons of a filter, as pyarrow spells them.
OPERATORS: Final = ("==", "=", "!=", "<", ">", "<=", ">=", "in", "not in")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows and columns of which table of a snapshot are meant.

    Attributes:
        table: schema and name.
        columns: in this order; None: all of them.
        filters: alternatives, of each of which every (column, operator, value) holds; none: every
            row. A comparison with NULL does not hold.
    """

    table: str
    columns: Sequence[str] | None = None
    filters: Sequence[Sequence[tuple[str, str, Any]]] = ()

    @classmethod
    def of(cls, metadata: Mapping[str, Any], *, where: str) -> Self:
        """Return the selection that the metadata of an input describes.

        Args:
            metadata: ``table``, ``columns``, and ``filters``: a list of (column, operator, value)
                that all hold, or a list of such lists, of which one holds.
            where: the input, for people.

        Raises:
            SnapshotError: M832 it describes none.
        """
        table, columns = metadata.get("table"), metadata.get("columns")
        if not isinstance(table, str):
            raise _refused("the input does not say which table it is", where)
        is_list = isinstance(columns, list | tuple) and columns
        if columns is not None and not (is_list and all(isinstance(one, str) for one in columns)):
            raise _refused("columns are not a list of names", where)
        given = metadata.get("filters") or []
        if not isinstance(given, list | tuple):
            raise _refused("filters are not a list", where)
        groups = [given] if given and _is_comparison(given[0]) else given
        for group in groups:
            if not isinstance(group, list | tuple) or not group:
                raise _refused("filters are not lists of (column, operator, value)", where)
            for one in group:
                if not _is_comparison(one) or one[1] not in OPERATORS:
                    raise _refused(f"a filter is not (column, one of {OPERATORS}, value)", where)
        return cls(
            table,
            tuple(columns) if columns is not None else None,
            tuple(tuple((one[0], one[1], one[2]) for one in group) for group in groups),
        )

    @property
    def filtered(self) -> Sequence[str]:
        """Columns that the filters compare."""
        return tuple(dict.fromkeys(one[0] for group in self.filters for one in group))


@dataclass(frozen=True, slots=True)
class SnapshotReference:
    """Names a snapshot instead of carrying its rows.

    Attributes:
        store: that holds it.
        manifest: of it.
    """

    store: Store
    manifest: Manifest

    @property
    def id(self) -> str:
        """Id of the snapshot."""
        return self.manifest.id

    @property
    def tables(self) -> Sequence[str]:
        """Schema and name of each table."""
        return [entry.qualified for entry in self.manifest.tables]

    def dataset(self, selection: Selection) -> ds.Dataset:
        """Return rows as a dataset, of which nothing is read yet.

        It has the selected columns, behind them those that the filters compare, and its filters
        are pushed down whenever it is read.

        Raises:
            SnapshotError: M832 the snapshot lacks the table or a column, or a filter compares with
                a value of another type.
            SnapshotError: M807 its file is missing or is not whole.
        """
        entry = self._entry(selection)
        whole = reader.dataset(self.store, entry)
        if selection.columns is not None:
            names = dict.fromkeys([*selection.columns, *selection.filtered])
            whole = whole.replace_schema(pa.schema([whole.schema.field(name) for name in names]))
        expression = _expression(selection, whole.schema, self._where(selection))
        return whole if expression is None else whole.filter(expression)

    def schema(self, selection: Selection) -> pa.Schema:
        """Return the schema of the selected columns.

        Raises:
            SnapshotError: M832.
        """
        whole = reader.schema_of(self._entry(selection))
        names = whole.names if selection.columns is None else selection.columns
        return pa.schema([whole.field(name) for name in names])

    def batches(self, selection: Selection) -> Iterator[pa.RecordBatch]:
        """Yield the selected rows in the order of the key; only what is selected is read.

        Raises:
            SnapshotError: M807, M832, as `dataset`.
        """
        schema = self.schema(selection)
        read = self.dataset(selection).scanner(
            columns=schema.names, batch_size=BATCH_ROWS, batch_readahead=4, fragment_readahead=1
        )
        try:
            for batch in read.to_batches():
                if batch.num_rows:
                    yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except (pa.ArrowException, OSError) as error:
            raise SnapshotError(
                "M833",
                f"the file of a table cannot be read ({type(error).__name__})",
                where=self._where(selection),
                fix=f"memos-assets snapshots verify {self.id[:12]} names each damaged file; "
                "restore it from a copy of the store",
            ) from error

    def _entry(self, selection: Selection) -> TableEntry:
        entry = self.manifest.entry(selection.table)
        if entry is None:
            raise _refused(
                f"the snapshot has no table {selection.table}; it has {', '.join(self.tables)}",
                self._where(selection),
            )
        known = {name for name, _ in entry.columns}
        for name in (*(selection.columns or ()), *selection.filtered):
            if name not in known:
                raise _refused(f"the table has no column {name}", self._where(selection))
        return entry

    def _where(self, selection: Selection) -> str:
        return f"{selection.table} of snapshot {self.id[:12]}"


def _expression(selection: Selection, schema: pa.Schema, where: str) -> ds.Expression | None:
    if not selection.filters:
        return None
    filters = [list(group) for group in selection.filters]
    try:
        expression = pq.filters_to_expression(filters)
        # Binding it to the columns finds values of other types before anything is read.
        ds.dataset(schema.empty_table()).scanner(filter=expression).to_table()
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise _refused("a filter compares a column with a value of another type", where) from error
    return expression


def _is_comparison(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3 and isinstance(value[0], str)


def _refused(what: str, where: str) -> SnapshotError:
    return SnapshotError(
        "M832",
        what,
        where=where,
        fix="describe the rows in the metadata of the input: "
        '{"table": "agent.memories", "columns": ["id", "text"], '
        '"filters": [("id", ">", 100)]}',
    )
