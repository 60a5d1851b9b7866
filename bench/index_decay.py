"""Effects of deletes and updates on an HNSW index, and of VACUUM and REINDEX after them.

`python -m bench.index_decay` prints the table of docs/decisions/008-health-of-indexes.md.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg import sql
from rich.console import Console

from bench.machine import machine_line
from bench.measure import progress
from bench.sheets import Sheet
from bench.world import World, opened_world
from memos_assets.catalog import MEMOS
from memos_assets.indexes.ddl import create_hnsw
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.server.embedded import DATABASE
from memos_assets.report.formatting import size
from memos_assets.search.queries import nearest

ROWS, CLUSTERS, LATENT, QUERIES, K = 10_000, 200, 32, 200, 10
SPEC = MEMOS.table("thought_templates")
INDEX = next(index for index in SPEC.vector_indexes if index.dimension == 768)
Vectors = npt.NDArray[np.float32]
Change = Callable[[psycopg.Connection, npt.NDArray[np.int64]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Searched:
    """Recall@10, the fewest rows that an answer had, and the median of a search, ms."""

    recall: float
    fewest: int
    p50: float


@dataclass(frozen=True, slots=True)
class Seen:
    """An index in one state: as it answers by itself, and with an iterative scan."""

    bytes: int
    plain: Searched
    iterative: Searched


def decay_sheet(world: World) -> Sheet:
    """Apply every change to a copy of one database; look before, after, vacuumed, reindexed."""
    random = np.random.default_rng(3)
    clusters = random.integers(0, CLUSTERS, ROWS)
    changes: list[tuple[str, Change]] = [("nothing", lambda _conn, _clusters: ())]
    changes += [(f"{share:.0%} of the rows deleted", _deleting(share)) for share in (0.1, 0.2, 0.5)]
    changes += [(f"{share:.0%} of the sources deleted", _forgetting(share)) for share in (0.1, 0.5)]
    changes += [(f"{share:.0%} of the rows updated", _updating(share)) for share in (0.1, 0.2, 0.5)]
    changes += [("every row updated", _updating(1.0)), ("every row updated twice", _updating(2.0))]
    changes += [("20 % updated and vacuumed, 10 times", _churning(0.2, 10))]
    rows = []
    with world.fresh():
        pass
    with world.administrator(DATABASE) as conn:
        _fill(conn, _vectors(clusters, seed=1), clusters)
    for name, change in changes:
        copy = "decay"
        with world.administrator() as admin:
            admin.execute(f"drop database if exists {copy} with (force)")
            admin.execute(f"create database {copy} template {DATABASE} strategy file_copy")
        with world.administrator(copy) as conn:
            removed = change(conn, clusters)
            rows += [_row(name, "as it is", _look(conn, removed))]
            conn.execute("vacuum memos.thought_templates")
            rows += [_row(name, "after VACUUM", _look(conn, removed))]
            conn.execute(
                sql.SQL("reindex index concurrently {}").format(sql.Identifier("memos", INDEX.name))
            )
            rows += [_row(name, "after REINDEX", _look(conn, removed))]
        progress.print(*rows[-3:], sep="\n", markup=False)
    columns = ["change", "state", "bytes", "recall@10", "fewest rows", "p50 ms"]
    columns += ["iterative: recall@10", "fewest", "p50 ms"]
    return Sheet("index_decay", f"{ROWS:,} x 768-d, {QUERIES} queries, ef_search 40", columns, rows)


def _row(name: str, state: str, seen: Seen) -> list[str]:
    cells = [name, state, size(seen.bytes)]
    for found in (seen.plain, seen.iterative):
        cells += [f"{found.recall:.3f}", str(found.fewest), f"{found.p50:.2f}"]
    return cells


def _vectors(clusters: npt.NDArray[np.int64], seed: int) -> Vectors:
    """Return unit vectors around the centres of their clusters, shape (n, 768)."""
    world, random = np.random.default_rng(5), np.random.default_rng(seed)
    spread = world.standard_normal((LATENT, INDEX.dimension))
    centres = world.standard_normal((CLUSTERS, LATENT))
    latent = centres[clusters] + 0.6 * random.standard_normal((len(clusters), LATENT))
    raw = latent @ spread + 0.6 * random.standard_normal((len(clusters), INDEX.dimension))
    unit: Vectors = (raw / np.linalg.norm(raw, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _text(vector: Vectors) -> str:
    return json.dumps([round(float(value), 6) for value in vector])


def _fill(conn: psycopg.Connection, vectors: Vectors, clusters: npt.NDArray[np.int64]) -> None:
    conn.execute("alter table memos.thought_templates set (autovacuum_enabled = off)")
    copy = (
        "copy memos.thought_templates (source, id, embedding, dimension, chunk, source_rowid) "
        "from stdin"
    )
    with conn.cursor().copy(copy) as rows:
        for number, vector in enumerate(vectors):
            source = f"s{clusters[number]}"
            rows.write_row([source, str(number), _text(vector), INDEX.dimension, 0, number])
    conn.execute("set maintenance_work_mem = '256MB'")
    conn.execute(create_hnsw(INDEX, SPEC.schema))
    conn.execute("vacuum analyze memos.thought_templates")


def _chosen(share: float, seed: int = 9) -> list[int]:
    order = np.random.default_rng(seed).permutation(ROWS)
    return [int(number) for number in order[: round(ROWS * share)]]


def _delete(conn: psycopg.Connection, numbers: Sequence[int]) -> None:
    conn.execute("delete from memos.thought_templates where source_rowid = any(%s)", [numbers])


def _deleting(share: float) -> Change:
    def change(conn: psycopg.Connection, _: npt.NDArray[np.int64]) -> Sequence[int]:
        numbers = _chosen(share)
        _delete(conn, numbers)
        return numbers

    return change


def _forgetting(share: float) -> Change:
    def change(conn: psycopg.Connection, clusters: npt.NDArray[np.int64]) -> Sequence[int]:
        numbers = [int(n) for n in np.flatnonzero(clusters < CLUSTERS * share)]
        _delete(conn, numbers)
        return numbers

    return change


def _update(
    conn: psycopg.Connection, clusters: npt.NDArray[np.int64], numbers: Sequence[int], seed: int
) -> None:
    vectors = _vectors(clusters[list(numbers)], seed)
    with conn.cursor() as cursor:
        cursor.executemany(
            "update memos.thought_templates set embedding = %s::public.vector "
            "where source_rowid = %s",
            [(_text(vector), number) for vector, number in zip(vectors, numbers, strict=True)],
        )


def _updating(share: float) -> Change:
    def change(conn: psycopg.Connection, clusters: npt.NDArray[np.int64]) -> Sequence[int]:
        numbers: list[int] = []
        left, seed = share, 20
        while left > 0:
            numbers = _chosen(min(left, 1.0))
            _update(conn, clusters, numbers, seed)
            left, seed = left - 1, seed + 1
        return numbers

    return change


def _churning(share: float, times: int) -> Change:
    def change(conn: psycopg.Connection, clusters: npt.NDArray[np.int64]) -> Sequence[int]:
        for seed in range(times):
            _update(conn, clusters, _chosen(share, seed), 40 + seed)
            conn.execute("vacuum memos.thought_templates")
        return _chosen(share, times - 1)

    return change


def _look(conn: psycopg.Connection, removed: Sequence[int]) -> Seen:
    """Search for vectors near stored ones and, for half of the queries, near removed ones."""
    rows = conn.execute(
        "select source_rowid, embedding::text from memos.thought_templates"
    ).fetchall()
    names = np.array([row[0] for row in rows])
    stored = np.array([json.loads(row[1]) for row in rows], dtype=np.float32)
    random = np.random.default_rng(77)
    whole = _vectors(np.random.default_rng(3).integers(0, CLUSTERS, ROWS), seed=1)
    near = [whole[n] for n in random.permutation(list(removed) or range(ROWS))[: QUERIES // 2]]
    near += [stored[n] for n in random.permutation(len(stored))[: QUERIES - len(near)]]
    jitter = random.standard_normal((QUERIES, INDEX.dimension)) * 0.3 / INDEX.dimension**0.5
    queries = np.array(near, dtype=np.float32) + jitter.astype(np.float32)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(queries, axis=1, keepdims=True)
    ground_truth = np.argsort(1 - queries @ stored.T / lengths, axis=1)[:, :K]
    expected = [set(names[places].tolist()) for places in ground_truth]
    (used,) = conn.execute(
        "select pg_relation_size(%s::regclass)", [f"memos.{INDEX.name}"]
    ).fetchall()
    return Seen(
        used[0],
        _search(conn, queries, expected, "off"),
        _search(conn, queries, expected, "strict_order"),
    )


def _search(
    conn: psycopg.Connection, queries: Vectors, expected: Sequence[set[int]], scan: str
) -> Searched:
    conn.execute("set enable_seqscan = off")
    conn.execute(sql.SQL("set hnsw.iterative_scan = {}").format(sql.Literal(scan)))
    statement = nearest(SPEC.as_table, INDEX)
    texts = [_text(query) for query in queries]
    conn.execute(statement, {"embedding": texts[0], "k": K}).fetchall()
    seconds, hits, fewest = [], 0, K
    for text, wanted in zip(texts, expected, strict=True):
        began = time.perf_counter()
        found = conn.execute(statement, {"embedding": text, "k": K}).fetchall()
        seconds.append(time.perf_counter() - began)
        hits += len({int(row[1]) for row in found} & wanted)
        fewest = min(fewest, len(found))
    conn.execute("reset enable_seqscan")
    return Searched(hits / (K * len(texts)), fewest, float(np.median(seconds)) * 1_000)


if __name__ == "__main__":
    console = Console(highlight=False)
    with opened_world("small", factor=0.05) as opened:
        table = decay_sheet(opened)
        engine = create_engine(
            opened.server.url(), opened.settings, application_name="bench", pooled=False
        )
        console.print(table.markdown(), markup=False, soft_wrap=True)
        console.print(machine_line(engine, "one run"), markup=False, soft_wrap=True)
