"""Forecast of a build: memory, disk, seconds. Pure; opens no connection."""

import math
from dataclasses import dataclass
from typing import Literal

from memos_assets.catalog import VectorIndex
from memos_assets.catalog.columns import IndexedForm, value_bytes

#: Where the seconds come from: a build of a few of the rows on this very server, or a table.
Basis = Literal["sample", "rate"]

_PAGE_BYTES = 8_192
#: Of a page, without its header (24) and pgvector's trailer (8).
_USABLE_BYTES = _PAGE_BYTES - 32
#: The graph is allocated in blocks of this size; up to 1.5 % beside the formula was seen, too.
_BLOCK_BYTES = 1 << 20
_MEASURED_MARGIN = 1.015

#: Microseconds of one core per row and unit of ln(rows): some, and some per element. Measured on
#: 1,000 to 20,000 rows of 768 to 4,096 elements, m 16, ef_construction 64 (2 cores, 2026-11-22).
_RATES: dict[IndexedForm, tuple[float, float]] = {
    "vector": (5.0, 0.026),
    "halfvec": (3.0, 0.025),
    "bits": (12.0, 0.002),
}
#: Gain of each worker beside the first process, in processes: 0.4 to 0.65 were seen on 2 cores.
_WORKER_GAIN = 0.55
#: A row that finds the memory full is inserted on disk; as many times slower where the index fits
#: the server's buffers, and many times that where it does not.
SPILLED_SLOWDOWN = 4

#: GIN: bytes of index per byte of column, seconds per byte, and the most memory that helps.
#: The costs depend on the number of different keys: right within a factor of three on the
#: plan-scale demo.
_GIN_DISK_SHARE = 0.75
_GIN_SECONDS_PER_BYTE = 7e-8
_GIN_MEMORY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Graph:
    """An HNSW index: ``dimension`` elements of one type of each row, with ``m`` links."""

    form: IndexedForm
    dimension: int
    m: int = 16
    ef_construction: int = 64

    @property
    def value_bytes(self) -> int:
        """Bytes of one value."""
        return value_bytes(self.form, self.dimension)

    @property
    def row_bytes(self) -> float:
        """Bytes of memory per row while the graph is built, from the structures in `hnsw.h`."""
        m = self.m
        return 128 + 8 + (8 + 32 * m) + (8 + 16 * m) / (m - 1) + self.value_bytes


@dataclass(frozen=True, slots=True)
class IndexForecast:
    """Forecast of the build of one index.

    Attributes:
        rows: that the index will serve.
        memory_bytes: that the build needs to stay in memory.
        disk_bytes: of the finished index.
        seconds: of one process with enough memory.
        basis: where ``seconds`` come from.
    """

    rows: int
    memory_bytes: int
    disk_bytes: int
    seconds: float
    basis: Basis = "rate"

    def seconds_with(self, workers: int, memory_bytes: int) -> float:
        """Return the seconds with ``workers`` beside the first process, and so much memory.

        Where that is too little memory, this is the least that the build will take.
        """
        spilled = max(0.0, 1 - memory_bytes / self.memory_bytes) if self.memory_bytes else 0.0
        slowdown = 1 + spilled * (SPILLED_SLOWDOWN - 1)
        return self.seconds * slowdown / (1 + _WORKER_GAIN * workers)


def graph_of(index: VectorIndex) -> Graph:
    """Return the graph of an index of the catalog."""
    if index.method == "prefix":
        return Graph("halfvec", index.prefix, index.m, index.ef_construction)
    return Graph(index.method, index.dimension, index.m, index.ef_construction)


def forecast_graph(graph: Graph, rows: int) -> IndexForecast:
    """Forecast an HNSW index on ``rows`` rows, its seconds by rate."""
    return IndexForecast(
        rows,
        memory_bytes=math.ceil(rows * graph.row_bytes * _MEASURED_MARGIN) + _BLOCK_BYTES,
        disk_bytes=graph_disk_bytes(graph, rows),
        seconds=_rate_seconds(graph, rows),
    )


def forecast_gin(rows: int, column_bytes: int) -> IndexForecast:
    """Forecast a GIN index on a column of ``rows`` values that have so many bytes together."""
    return IndexForecast(
        rows,
        memory_bytes=min(_GIN_MEMORY_BYTES, 4 * column_bytes + _BLOCK_BYTES),
        disk_bytes=2 * _PAGE_BYTES + math.ceil(column_bytes * _GIN_DISK_SHARE),
        seconds=column_bytes * _GIN_SECONDS_PER_BYTE,
    )


def graph_disk_bytes(graph: Graph, rows: int) -> int:
    """Return the bytes of the index: an element and its links share a page, or take one each."""
    element = _aligned(72 + graph.value_bytes)
    links = _aligned(4 + 12 * graph.m)
    if element + links + 8 > _USABLE_BYTES:
        return _PAGE_BYTES * (1 + 2 * rows)
    # Few rows are on higher levels, too, and have m more links of 6 bytes on each.
    per_page = _USABLE_BYTES / (element + links + 8 + 6 * graph.m / (graph.m - 1))
    # The rest of a page stays empty; with small rows that is half a row on average.
    per_page = math.floor(per_page) if per_page < 8 else per_page - 0.5
    return _PAGE_BYTES * (1 + max(1, math.ceil(rows / per_page)))


def extrapolated(seconds: float, sample_rows: int, rows: int) -> float:
    """Return the seconds for ``rows`` when ``sample_rows`` (200 or more) took ``seconds``.

    A row costs as much as the logarithm of those before it: from 200 and 500 rows that met the
    20,000 of each method within 20 % (docs/benchmarks.md).
    """
    return seconds * _work(rows) / _work(sample_rows)


def _rate_seconds(graph: Graph, rows: int) -> float:
    some, per_element = _RATES[graph.form]
    effort = graph.ef_construction / 64 * math.sqrt(graph.m / 16)
    return _work(rows) * (some + per_element * graph.dimension) * effort / 1e6


def _work(rows: int) -> float:
    return rows * math.log(rows + 1)


def _aligned(size: int) -> int:
    return (size + 7) // 8 * 8
