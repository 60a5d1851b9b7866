"""Race 1: the embeddings of the mixed-precision file into PostgreSQL."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import sqlalchemy as sa
from psycopg import sql

from bench.encoded import EncodedTable, copy_on_server, encode_table, work_of
from bench.measure import Spread, alternate, seconds_of
from bench.rivals import (
    Row,
    copy_row_by_row,
    insert_row_by_row,
    insert_with_pandas,
    plain_rows,
)
from bench.sheets import Sheet, spread_cells, verdict
from bench.world import World
from memos_assets.catalog import MEMOS
from memos_assets.consolidate.decoding.reader import chunk_stream
from memos_assets.consolidate.loading.load import load_stream
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.indexes.definitions import drop_index, search_indexes
from memos_assets.postgres.server.embedded import DATABASE

#: At most this many times a server-side COPY.
LIMIT = 1.6
#: Rows that the slow ways load; their pace does not depend on how many there are.
SLICE_ROWS = 1_000

_SPEC = MEMOS.table("embeddings")
_TABLE = "bench.embeddings"

COPY = "server-side COPY of encoded rows (the limit)"
OURS = "memos_assets: decode, rejects and ledger included"
WRITE_ROW = "psycopg copy.write_row, pgvector types"
INSERTS = "remediation plan: one INSERT per row"
PANDAS = "pandas.to_sql(method='multi'), pgvector types"


@dataclass(frozen=True, slots=True)
class _Course:
    """The input of every contestant."""

    world: World
    engine: sa.Engine
    pin: Pin
    encoded: EncodedTable

    def server_side_copy(self) -> float:
        """Time the limit."""
        self._make_table()
        with self.world.administrator(DATABASE) as conn:
            return seconds_of(
                lambda: copy_on_server(conn, self.encoded, sql.Identifier(*_TABLE.split(".")))
            )

    def ours(self) -> float:
        """Time the loader on the emptied table."""
        self.world.truncate()
        work = work_of(_SPEC, [self.pin])
        return seconds_of(
            lambda: load_stream(self.engine, _SPEC, chunk_stream(_SPEC, work), run_id="bench")
        )

    def rival(
        self, load: Callable[[sa.Engine, str, Iterator[Row]], None], most: int
    ) -> Callable[[], float]:
        """Return a timer of another way on ``most`` rows."""

        def run() -> float:
            self._make_table()
            rows = plain_rows(self.pin, self.encoded, most)
            seconds = seconds_of(lambda: load(self.engine, _TABLE, rows))
            self._check_rows(most)
            return seconds

        return run

    def _make_table(self) -> None:
        with self.world.administrator(DATABASE) as conn:
            conn.execute("create schema if not exists bench")
            conn.execute(f"drop table if exists {_TABLE}".encode())
            conn.execute(f"create table {_TABLE} (like {_SPEC.qualified} including all)".encode())
        self.world.settle()

    def _check_rows(self, expected: int) -> None:
        with self.engine.connect() as conn:
            count = conn.execute(sa.text(f"select count(*) from {_TABLE}")).scalar_one()
        assert count == expected, f"{count} rows loaded, {expected} expected"


def load_race(world: World, rounds: int) -> list[Sheet]:
    """Load the largest table of embeddings in every way."""
    pin = max(
        (pin for pin in world.pins if pin.kind.name == "mixed_precision_embeddings"),
        key=lambda pin: pin.rows[_SPEC.origin],
    )
    encoded = encode_table(world, _SPEC, [pin])
    some = min(SLICE_ROWS, encoded.rows)
    with world.fresh() as engine:
        with engine.begin() as conn:
            for index in search_indexes(_SPEC.as_table):
                drop_index(conn, index.name, index.schema)
        course = _Course(world, engine, pin, encoded)
        spreads = alternate(
            {
                COPY: course.server_side_copy,
                OURS: course.ours,
                WRITE_ROW: course.rival(copy_row_by_row, encoded.rows),
                INSERTS: course.rival(insert_row_by_row, some),
                PANDAS: course.rival(insert_with_pandas, some),
            },
            rounds,
        )
    timed = {name: some if name in (INSERTS, PANDAS) else encoded.rows for name in spreads}
    return [_sheet(pin, encoded, spreads, timed)]


def _sheet(
    pin: Pin, encoded: EncodedTable, spreads: dict[str, Spread], timed: dict[str, int]
) -> Sheet:
    limit = spreads[COPY].median
    rows = []
    for name, measured in spreads.items():
        spread = measured.times(encoded.rows / timed[name])
        ratio = spread.median / limit
        rows.append(
            (
                name,
                f"{timed[name]:,}",
                *spread_cells(spread),
                f"{encoded.rows / spread.median:,.0f}",
                f"{ratio:.2f}",
                verdict(ratio, LIMIT, "x") if name == OURS else "",
            )
        )
    return Sheet(
        "load",
        f"Load of {encoded.rows:,} embeddings ({pin.path.stat().st_size / 1e6:.0f} MB of SQLite)",
        ("way", "rows timed", "s", "min - max", "rows/s", "x COPY", "target"),
        rows,
        (
            "Seconds are for all rows; where fewer were timed they are scaled up. "
            f"{len(encoded.rejected):,} rows of the file are rejects: we find and record them, "
            "the others were told which to leave out."
        ),
    )
