"""The usual ways of loading the same rows: COPY row by row, one INSERT per row, pandas.

Each one reads SQLite itself, decodes row by row as its documentation shows, and keeps no ledger.
Which rows must be left out, and which embeddings are unusable, it is told beforehand.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import sqlalchemy as sa
from pgvector import HalfVector
from pgvector.psycopg import register_vector
from pgvector.sqlalchemy import HALFVEC
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from bench.encoded import EncodedTable
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.postgres.engine import libpq_url

Row = dict[str, Any]

#: Columns of memos.embeddings, in the order in which the rivals write them.
_TYPES = {
    "source": "text",
    "doc_id": "text",
    "content": "text",
    "metadata": "jsonb",
    "created_at": "timestamptz",
    "embedding": "halfvec",
    "dimension": "int4",
    "embedding_reason": "text",
    "chunk": "int4",
    "source_rowid": "int8",
}


def plain_rows(pin: Pin, encoded: EncodedTable, most: int) -> Iterator[Row]:
    """Yield up to ``most`` rows of the SQLite table `embeddings` as Python values."""
    return islice(_rows(pin, encoded), most)


def _rows(pin: Pin, encoded: EncodedTable) -> Iterator[Row]:
    rejected = ", ".join(map(str, sorted(encoded.rejected)))
    with closing(sqlite3.connect(pin.path)) as connection:
        cursor = connection.execute(
            "select rowid, doc_id, content, metadata, created_at, fp16_data, dimension "
            f"from embeddings where rowid not in ({rejected}) order by rowid"
        )
        for rowid, doc_id, content, metadata, created_at, blob, dimension in cursor:
            reason = encoded.reasons.get(rowid)
            yield {
                "source": pin.source,
                "doc_id": doc_id,
                "content": content,
                "metadata": None if metadata is None else json.loads(metadata),
                "created_at": _moment(created_at),
                "embedding": None if reason else np.frombuffer(blob, dtype="<f2"),
                "dimension": dimension,
                "embedding_reason": reason,
                "chunk": rowid // pin.chunk_rows,
                "source_rowid": rowid,
            }


def _moment(stored: str | None) -> datetime | None:
    if stored is None:
        return None
    moment = datetime.fromisoformat(stored)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def copy_row_by_row(engine: sa.Engine, table: str, rows: Iterator[Row]) -> None:
    """Load with psycopg's ``copy.write_row`` and pgvector's types."""
    statement = sql.SQL("copy {} ({}) from stdin (format binary)").format(
        sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, _TYPES))
    )
    with psycopg.connect(libpq_url(engine.url)) as conn:
        register_vector(conn)
        with conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(_TYPES.values()))
            for row in rows:
                if row["metadata"] is not None:
                    row["metadata"] = Jsonb(row["metadata"])
                if row["embedding"] is not None:
                    row["embedding"] = HalfVector(row["embedding"])
                copy.write_row([row[name] for name in _TYPES])


#: Type -> its name in a cast, for those that a driver does not send by itself.
_CASTS = {"halfvec": "public.halfvec", "jsonb": "jsonb"}


def insert_row_by_row(engine: sa.Engine, table: str, rows: Iterator[Row]) -> None:
    """Load as the remediation plan does: one INSERT per row, the vector bound as text."""
    values = ", ".join(
        f"cast(:{name} as {_CASTS[kind]})" if kind in _CASTS else f":{name}"
        for name, kind in _TYPES.items()
    )
    statement = sa.text(f"insert into {table} ({', '.join(_TYPES)}) values ({values})")
    with Session(engine) as session:
        for row in rows:
            if row["metadata"] is not None:
                row["metadata"] = json.dumps(row["metadata"])
            if row["embedding"] is not None:
                row["embedding"] = f"[{','.join(map(str, row['embedding'].tolist()))}]"
            session.execute(statement, row)
        session.commit()


def insert_with_pandas(engine: sa.Engine, table: str, rows: Iterator[Row]) -> None:
    """Load with ``DataFrame.to_sql(method="multi")`` and pgvector's SQLAlchemy type."""
    schema, name = table.split(".")
    frame = pd.DataFrame(rows, columns=list(_TYPES))
    with engine.begin() as conn:
        frame.to_sql(
            name,
            conn,
            schema=schema,
            if_exists="append",
            index=False,
            method="multi",
            chunksize=500,
            dtype={
                "metadata": postgresql.JSONB(none_as_null=True),
                "created_at": sa.DateTime(timezone=True),
                "embedding": HALFVEC(),
            },
        )
