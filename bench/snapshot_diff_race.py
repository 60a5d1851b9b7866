"""Compare two snapshots, beside the write of one: cost by what changed."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from bench.measure import BenchError, Spread, alternate, seconds_of
from bench.sheets import Sheet, spread_cells, verdict
from bench.snapshot_memories import LINKS, write_memories
from bench.world import World
from memos_assets.demo import Scale
from memos_assets.snapshots.diff import diff
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.write import write_snapshot

#: Memories by scale, and elements of an embedding.
COUNTS: Final[dict[Scale, int]] = {"plan": 100_000, "small": 5_000}
DIMENSION: Final = 1_024
#: One row of each table in this many is changed.
ONE_IN: Final = 100
#: Of a diff, in writes.
_LIMIT: Final = 0.5
_CHANGES: Final = (
    "update agent.memories set content = content || '.' where number % :one_in = 0",
    "update agent.links set weight = weight / 2 where a % :one_in = 0",
    """
    update {embeddings} set embedding = (select embedding from {embeddings} where memory = 1)
    where memory % :one_in = 0
    """,
)


def snapshot_diff_race(world: World, rounds: int) -> list[Sheet]:
    """Return the table of a write and of diffs."""
    count = COUNTS[world.scale]
    with world.fresh() as engine, tempfile.TemporaryDirectory(dir=world.folder) as folder:
        write_memories(engine, count, DIMENSION)
        store = open_store(folder)
        before = write_snapshot(engine, store).manifest
        _change(engine, _CHANGES[:2])
        some = write_snapshot(engine, store).manifest
        _change(engine, _CHANGES[2:])
        after = write_snapshot(engine, store).manifest
        spreads = alternate(
            {
                "write": lambda: _written(engine, Path(folder)),
                "1 % of every table": _compared(store, before, after),
                "1 % of memories and links": _compared(store, before, some),
                "nothing": _compared(store, after, after),
            },
            rounds,
        )
    return [_sheet(spreads, count)]


def _change(engine: sa.Engine, statements: tuple[str, ...]) -> None:
    with engine.begin() as conn:
        name = conn.execute(sa.text("select id from agent.models")).scalar_one()
        for statement in statements:
            changed = sa.text(statement.format(embeddings=f"agent.embeddings_{name}"))
            conn.execute(changed, {"one_in": ONE_IN})


def _written(engine: sa.Engine, folder: Path) -> float:
    """Write a snapshot to an empty store; return its seconds."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as empty:
        return seconds_of(lambda: write_snapshot(engine, open_store(empty)))


def _compared(store: Store, before: Manifest, after: Manifest) -> Callable[[], float]:
    changed = sum(entry.rows for entry in before.tables) // ONE_IN // 10

    def compare() -> float:
        found: list[int] = []
        seconds = seconds_of(lambda: found.append(diff(store, before, after).rows.changed))
        if (found[0] > changed) != (before.id != after.id):
            raise BenchError(f"the diff found {found[0]} changed rows")
        return seconds

    return compare


def _sheet(spreads: dict[str, Spread], count: int) -> Sheet:
    write = spreads["write"].median
    rows = []
    for name, spread in spreads.items():
        ratio = spread.median / write
        is_limited = name == "1 % of every table"
        target = verdict(ratio, _LIMIT, "x the write") if is_limited else ""
        rows.append((name, *spread_cells(spread), f"{ratio:.2f}", target))
    return Sheet(
        "snapshot-diff",
        "Compare two snapshots by what changed",
        ("", "s", "min - max", "x the write", "target"),
        rows,
        f"{count:,} memories with an embedding of {DIMENSION:,} elements (halfvec), a revision and "
        f"{LINKS} links each. Writes are whole, to an empty local store. Diffs are complete: "
        "counts by column, space and kind, facts, keys. Tables without changes are not opened.",
    )
