"""Exact restore beside a bare COPY FROM with the same indexes, and how long readers wait."""

import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from psycopg import sql

from bench.measure import Spread, alternate, progress, seconds_of
from bench.sheets import Sheet, spread_cells, verdict
from bench.snapshot_memories import write_memories
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.memory.models import current_model
from memos_assets.memory.vector_indexes import build
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import driver_of
from memos_assets.search.postings import WRITE_ALL
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.restore.exact import Restored, exact
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.write import write_snapshot

#: Scale -> memories, and elements of an embedding.
SIZES: Final[dict[Scale, tuple[int, int]]] = {"plan": (100_000, 1_024), "small": (2_000, 64)}
_BARE: Final = "bench_bare"
_DEFINITIONS: Final = """
select pg_catalog.pg_get_indexdef(i.indexrelid) from pg_catalog.pg_index i
join pg_catalog.pg_class c on c.oid = i.indrelid where c.oid = any(%s::regclass[]::oid[])
order by i.indisprimary desc, i.indisunique desc, i.indexrelid
"""
_KEYS: Final = """
select c.relname, pg_catalog.pg_get_constraintdef(k.oid) from pg_catalog.pg_constraint k
join pg_catalog.pg_class c on c.oid = k.conrelid
where k.contype = 'f' and c.oid = any(%s::regclass[]::oid[])
"""


@dataclass
class Reader:
    """Reads a table again and again.

    Attributes:
        longest: of its reads, in seconds.
        reads: how many there were.
    """

    longest: float = 0.0
    reads: int = 0


def snapshot_restore_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of exact restores."""
    memories, dimension = SIZES[world.scale]
    with world.fresh() as engine, tempfile.TemporaryDirectory(dir=world.settings.home) as folder:
        progress.print(f"Restoring {memories:,} memories of {dimension:,} elements")
        write_memories(engine, memories, dimension)
        with engine.begin() as conn:
            for words in WRITE_ALL:
                conn.exec_driver_sql(words.as_string())
        with engine.connect() as conn:
            model = current_model(conn)
        assert model is not None
        for pending in build(engine, model):
            progress.print(f"Built {pending.index.name}")
        store = open_store(f"{folder}/snapshots")
        first = write_snapshot(engine, store).manifest
        restored: list[Restored] = []
        reader = Reader()

        def restore() -> float:
            with engine.begin() as conn:
                conn.exec_driver_sql(
                    "update agent.memories set trust = 0.5 where mod(number, 100) = 0"
                )
            with _reading(engine, reader):
                restored.append(exact(engine, store, first))
            seconds = restored[-1].seconds
            return sum(seconds.values()) - seconds["snapshot of now"] - seconds["readers"]

        spreads = alternate(
            {"bare": lambda: _bare(engine, first, Path(folder)), "exact": restore}, rounds
        )
    return [_sheet(spreads, restored, reader, memories, dimension)]


def _sheet(
    spreads: dict[str, Spread],
    restored: Sequence[Restored],
    reader: Reader,
    memories: int,
    dimension: int,
) -> Sheet:
    ratio = spreads["exact"].median / spreads["bare"].median
    steps = Spread([one.seconds["proof"] for one in restored])
    swap = max(one.seconds["readers"] for one in restored)
    return Sheet(
        "snapshot-restore",
        f"Exact restore of {memories:,} memories of {dimension:,} elements with links",
        ("", "median s", "min - max", "ratio", "target"),
        [
            ("bare COPY FROM, indexes, keys", *spread_cells(spreads["bare"]), "1.00", ""),
            (
                "exact restore",
                *spread_cells(spreads["exact"]),
                f"{ratio:.2f}",
                verdict(ratio, 2, "x"),
            ),
            ("of it: proof", *spread_cells(steps), "", ""),
            ("locks of the exchange", f"{swap:.3f}", "", "", verdict(swap, 1, "s")),
            (
                "longest read meanwhile",
                f"{reader.longest:.3f}",
                "",
                "",
                verdict(reader.longest, 1, "s"),
            ),
        ],
        "Without the snapshot of now, which is a write. Both make the same indexes, those of large "
        f"spaces too, and the words of memories. {reader.reads:,} reads of memories by their key "
        "and of a count went on meanwhile.",
    )


@contextmanager
def _reading(engine: sa.Engine, reader: Reader) -> Iterator[None]:
    stopped = threading.Event()

    def read() -> None:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            while not stopped.is_set():
                began = time.monotonic()
                conn.exec_driver_sql(
                    "select content, (select count(*) from agent.spaces) from agent.memories "
                    "where number = 7"
                ).one()
                reader.longest = max(reader.longest, time.monotonic() - began)
                reader.reads += 1

    thread = threading.Thread(target=read, name="reader", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _bare(engine: sa.Engine, manifest: Manifest, folder: Path) -> float:
    """Load the same rows by COPY FROM alone, and make what the live tables have."""
    names = [one.name for one in manifest.tables if one.schema == schemas.AGENT.name]
    loaded = [*names, "postings", "word_counts"]
    live = [f"agent.{name}" for name in loaded]
    with engine.begin() as conn:
        driver = driver_of(conn)
        driver.execute(f"drop schema if exists {_BARE} cascade; create schema {_BARE}")
        for name in names:
            table = sql.Identifier("agent", name)
            statement = sql.SQL("copy {} to stdout (format binary)").format(table)
            with (
                (folder / name).open("wb") as file,
                driver.cursor() as cursor,
                cursor.copy(statement) as copy,
            ):
                for data in copy:
                    file.write(data)
        definitions = [row[0] for row in driver.execute(_DEFINITIONS, (live,))]
        keys = driver.execute(_KEYS, (live,)).fetchall()
        for name in loaded:
            driver.execute(
                f"create table {_BARE}.{name} (like agent.{name} including defaults "
                "including identity including storage including constraints)"
            )

        def load() -> None:
            driver.execute("set local maintenance_work_mem = '512MB'")
            for name in names:
                statement = sql.SQL("copy {} from stdin (format binary)").format(
                    sql.Identifier(_BARE, name)
                )
                with (
                    (folder / name).open("rb") as file,
                    driver.cursor() as cursor,
                    cursor.copy(statement) as copy,
                ):
                    while data := file.read(1024 * 1024):
                        copy.write(data)
            for words in WRITE_ALL:
                driver.execute(schemas.renamed(words.as_string(), _BARE))
            for definition in definitions:
                driver.execute(schemas.renamed(definition, _BARE))
            for table, definition in keys:
                driver.execute(
                    f"alter table {_BARE}.{table} add {schemas.renamed(definition, _BARE)}"
                )

        seconds = seconds_of(load)
        driver.execute(f"drop schema {_BARE} cascade")
    return seconds
