"""Embeddings in the forms that drivers send."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import psycopg
import sqlalchemy as sa
from pgvector import HalfVector, Vector
from psycopg.adapt import Dumper
from psycopg.pq import Format

from memos_assets.catalog.columns import Stored

#: Magnitudes of the largest element that are sent as they are: half precision has all its digits
#: from there to there, and so have the squares of float32 that pgvector sums up.
_AS_IT_IS: Mapping[Stored, tuple[float, float]] = {
    "halfvec": (2.0**-14, 65_504.0),
    "vector": (2.0**-50, 2.0**50),
}


@dataclass(frozen=True, slots=True)
class QueryEmbedding:
    """An embedding that is searched for.

    Attributes:
        elements: float32, ``(dimension,)``, contiguous.
        stored: the pgvector type of the column.
    """

    elements: npt.NDArray[np.float32]
    stored: Stored

    @property
    def text(self) -> str:
        """pgvector's text form, without loss."""
        return orjson.dumps(self.elements, option=orjson.OPT_SERIALIZE_NUMPY).decode()

    @property
    def binary(self) -> bytes:
        """pgvector's binary form: a tenth of the time that text takes."""
        kind = HalfVector if self.stored == "halfvec" else Vector
        return kind(self.elements).to_binary()


@dataclass(frozen=True, slots=True)
class EmbeddingArray:
    """Embeddings that are written, as one array of halfvec.

    Attributes:
        elements: float32, ``(embeddings, dimension)``, each within the range of half precision.
    """

    elements: npt.NDArray[np.float32]

    @property
    def text(self) -> str:
        """PostgreSQL's text form."""
        rows = (orjson.dumps(row, option=orjson.OPT_SERIALIZE_NUMPY) for row in self.elements)
        quoted = (f'"{row.decode()}"' for row in rows)
        return f"{{{','.join(quoted)}}}"

    @property
    def binary(self) -> bytes:
        """PostgreSQL's binary form.

        Source: ``array_recv`` (dimensions, flags, type of the elements, then length and lower bound
        of the dimension; the length before each element) and ``halfvec_recv`` (dimension, unused,
        float16), all big endian. PostgreSQL takes 0 for the type of an extension, whose number
        differs by database.
        """
        count, size = self.elements.shape
        row = np.dtype([("head", ">i4"), ("size", ">i2"), ("unused", ">i2"), ("e", ">f2", (size,))])
        made: npt.NDArray[np.void] = np.zeros(count, dtype=row)
        made["head"], made["size"], made["e"] = 4 + 2 * size, size, self.elements
        return struct.pack("!iiiii", 1, 0, 0, count, 1) + made.tobytes()


class _BinaryDumper(Dumper):
    """Sends embeddings without a type; the statement has the cast."""

    format = Format.BINARY

    def dump(self, obj: QueryEmbedding | EmbeddingArray) -> bytes:
        return obj.binary


def query_embedding(elements: npt.NDArray[np.float32], stored: Stored) -> QueryEmbedding:
    """Return an embedding to search for.

    It is scaled to length 1 where the type would lose large or small elements; angles stay.
    """
    largest = np.abs(elements).max()
    least, most = _AS_IT_IS[stored]
    if not least <= largest <= most:
        direction = elements.astype(np.float64) / float(largest)
        elements = (direction / np.linalg.norm(direction)).astype(np.float32)
    return QueryEmbedding(elements, stored)


def bound(conn: sa.Connection, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the values of a statement in a form that the connection's driver sends.

    psycopg is told how, on this connection alone; other drivers get text.
    """
    dbapi_connection = conn.connection.dbapi_connection
    assert dbapi_connection is not None, "a connection in use is open"
    driver = conn.dialect.get_driver_connection(dbapi_connection)
    if isinstance(driver, psycopg.BaseConnection):
        send_binary(driver)
        return values
    kinds = (QueryEmbedding, EmbeddingArray)
    return {k: v.text if isinstance(v, kinds) else v for k, v in values.items()}


def send_binary(driver: psycopg.BaseConnection[Any]) -> None:
    """Let a connection send embeddings; nothing else about it changes."""
    driver.adapters.register_dumper(QueryEmbedding, _BinaryDumper)
    driver.adapters.register_dumper(EmbeddingArray, _BinaryDumper)
