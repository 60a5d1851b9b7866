"""Small SQLite files in memOS's layouts with chosen rows, and their way into PostgreSQL."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from memos_assets.catalog import (
    MEMOS,
    Catalog,
    TableSpec,
)
from memos_assets.check import CheckContext
from memos_assets.clustered_vectors import quantise
from memos_assets.consolidate.decoding.reader import ChunkTask, chunk_stream
from memos_assets.consolidate.loading import ledger
from memos_assets.consolidate.loading.load import load_stream
from memos_assets.consolidate.loading.read_ahead import Counts
from memos_assets.consolidate.sources import registry
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.consolidate.sources.observe import observe_source, register_files
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.consolidate.sources.shrinkage import Acceptance, accept
from memos_assets.demo import aggregator, corpus, hybrid, hyperbolic, meta_buffer, mixed, semantic
from memos_assets.finding import Finding
from memos_assets.proof.rows.checks import CHECKS
from memos_assets.settings import PROJECT_ROOT, Settings, load_settings

Row = Mapping[str, Any]

SAMPLES = PROJECT_ROOT.parent / "shared" / "samples"

#: Kind -> the statements that memOS creates such a file with, and memOS's name for it.
LAYOUTS: dict[str, tuple[Sequence[str], str]] = {
    "mixed_precision_embeddings": (mixed.LAYOUT, "mixed_precision_embeddings.db"),
    "hybrid": ((*hybrid.LAYOUT, *hybrid.BM25_LAYOUT), "bge_m3_hybrid.db"),
    "corpus": (corpus.LAYOUT, "fanuc_robotics.db"),
    "embedding_aggregator": (aggregator.LAYOUT, "embedding_aggregator.db"),
    "meta_buffer": (meta_buffer.LAYOUT, "meta_buffer.db"),
    "hyperbolic_embeddings": (hyperbolic.LAYOUT, "hyperbolic_embeddings.db"),
    "semantic_memory": (semantic.LAYOUT, "semantic_memory.db"),
}


def write_file(path: Path, layout: Sequence[str], **tables: Iterable[Row]) -> Path:
    """Create a SQLite file and insert rows, each a mapping that may name its rowid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        for statement in layout:
            connection.execute(statement)
        for table, rows in tables.items():
            insert(connection, table, rows)
        connection.commit()
    return path


def insert(connection: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        connection.execute(
            f'insert or replace into "{table}" ({names}) values ({", ".join("?" * len(row))})',
            tuple(row.values()),
        )


def write_kind(folder: Path, kind: str, **tables: Iterable[Row]) -> Path:
    """Write a file of a kind under memOS's name for it."""
    layout, name = LAYOUTS[kind]
    return write_file(folder / name, layout, **tables)


def change(path: Path, *statements: str, parameters: Sequence[Any] = ()) -> None:
    """Change a file as memOS would, in one transaction."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement, parameters)
        connection.commit()


def vector(number: int, dim: int = 768) -> npt.NDArray[np.float32]:
    """Return the same finite vector for the same number, of a norm that models have."""
    seed = int.from_bytes(hashlib.sha256(f"{number}/{dim}".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim, dtype=np.float32)


def float32(number: int, dim: int = 768) -> bytes:
    return vector(number, dim).astype("<f4").tobytes()


def float16(number: int, dim: int = 768) -> bytes:
    return vector(number, dim).astype("<f2").tobytes()


def embedding(number: int, dim: int = 768, **changes: Any) -> dict[str, Any]:
    """A row of `embeddings` with the columns that memOS derives from its float16."""
    half = vector(number, dim).astype(np.float16).reshape(1, dim)
    tiers = quantise(half, np.array([False]))
    return {
        "rowid": number,
        "doc_id": f"doc-{number}",
        "binary_data": tiers.binary[0].tobytes(),
        "int8_data": tiers.int8[0].tobytes(),
        "fp16_data": half.astype("<f2").tobytes(),
        "scale": tiers.scale[0],
        "zero_point": 0,
        "dimension": dim,
        "residual_data": tiers.residual[0].tobytes(),
        "content": f"text {number}",
        "metadata": json.dumps({"code_number": number}),
        "created_at": "2025-12-20 08:00:00",
        **changes,
    }


def anchor(category: str, **changes: Any) -> dict[str, Any]:
    return {"category": category, "embedding": float16(7), "dimension": 768, **changes}


def document(number: int, **changes: Any) -> dict[str, Any]:
    """A row of a hybrid file's `documents`."""
    return {
        "rowid": number,
        "doc_id": f"doc-{number}",
        "content": f"Error Code: {number}",
        "dense_embedding": float32(number, 1024),
        "sparse_vector": json.dumps({"servo": 0.25, "alarm": 1.5}),
        "metadata": json.dumps({"category": "SRVO", "page": None}),
        "created_at": "2025-12-20 08:00:00",
        **changes,
    }


def entity(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "rowid": number,
        "id": f"entity-{number}",
        "entity_type": "cause",
        "name": f"Name {number}",
        "canonical_name": f"name{number}",
        "aliases": "[]",
        "attributes": "{}",
        "source_documents": "[]",
        "embedding": float32(number),
        "confidence": 0.8,
        "first_seen": "2025-12-20T08:00:00.000001+00:00",
        "last_updated": "2025-12-20T08:00:00+00:00",
        **changes,
    }


def relation(number: int, source: int | str, target: int | str, **changes: Any) -> dict[str, Any]:
    def name(end: int | str) -> str:
        return f"entity-{end}" if isinstance(end, int) else end

    return {
        "rowid": number,
        "id": f"relation-{number}",
        "source_entity_id": name(source),
        "target_entity_id": name(target),
        "relation_type": "caused_by",
        "created_at": "2025-12-20T08:00:00+00:00",
        **changes,
    }


def domain_embedding(number: int, domain: str = "fanuc", **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "domain": domain,
        "entity_id": f"entity-{number}",
        "entity_name": f"name {number}",
        "embedding": float32(number, 1024),
        **changes,
    }


def domain_relation(number: int, source: str, target: str, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "source_entity_id": source,
        "target_entity_id": target,
        "relation_type": "related_to",
        "domain": "fanuc",
        **changes,
    }


def template(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "rowid": number,
        "id": f"distilled_{number}",
        "template_type": "query_decomposition",
        "query_pattern": "how to",
        "query_embedding": json.dumps(vector(number).tolist()).encode(),
        "structure": "{}",
        "example_queries": "[]",
        "created_at": "2025-12-20T08:00:00+00:00",
        "updated_at": "2025-12-20T08:00:00+00:00",
        **changes,
    }


def node(number: int, parent: str | None = None, **changes: Any) -> dict[str, Any]:
    """A row of `hyperbolic_documents`."""
    return {
        "rowid": number,
        "doc_id": f"node-{number}",
        "content": f"step {number}",
        "euclidean_embedding": float32(number),
        "hyperbolic_embedding": (vector(number) / np.float32(100)).astype("<f4").tobytes(),
        "hierarchy_level": 0 if parent is None else 1,
        "parent_id": parent,
        "depth": np.float32(0.1).tobytes(),
        "metadata": "{}",
        "created_at": 1766217600.125,
        "updated_at": 1766217600.125,
        **changes,
    }


def memory(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "rowid": number,
        "id": f"memory-{number}",
        "memory_type": "entity",
        "content": f"remembered {number}",
        "attributes": "{}",
        "embedding": json.dumps(vector(number, 1024).tolist()),
        "created_at": 1767139200.5,
        "last_accessed": 1767139200.5,
        **changes,
    }


def connection(number: int, source: int, target: int, **changes: Any) -> dict[str, Any]:
    return {
        "rowid": number,
        "source_id": f"memory-{source}",
        "target_id": f"memory-{target}",
        "connection_type": "semantic",
        "strength": 0.75,
        "bidirectional": 1,
        "metadata": "{}",
        **changes,
    }


def declared() -> Catalog:
    """Return memOS's catalog with the encodings that the environment of a test declares."""
    return MEMOS.with_encodings(load_settings().declared_encodings)


def redeclared(pin: Pin) -> Pin:
    """Return a pin as a run gets it that declares the encodings of this moment."""
    return replace(pin, kind=declared().kind(pin.kind.name))


def found(*arguments: Path | str) -> list[FoundFile]:
    """Recognise files as the command does with these ``--data`` arguments."""
    return find_files(declared(), [Root.parse(str(argument)) for argument in arguments])


def only(*arguments: Path | str) -> FoundFile:
    (file,) = found(*arguments)
    return file


def observe(engine: sa.Engine, path: Path) -> Pin:
    """Register a file and pin what it holds in a hidden folder, which `found` leaves out."""
    file = only(path)
    register_files(engine, [file])
    with engine.connect() as conn:
        source = registry.source_named(conn, declared().kinds, file.source)
    return observe_source(engine, source, path.parent.with_name(".pins"))


def accept_counts(engine: sa.Engine, path: Path) -> None:
    """Accept that the tables of a registered file lost rows: nothing of it is refused as a loss."""
    file, accepted = only(path), []
    for spec in file.kind.tables if file.kind else ():
        rows = file.tables.get(spec.origin, 0)
        accepted.append(Acceptance(file.source, spec.origin, rows))
    with engine.begin() as conn:
        names = {source.name for source in registry.registered_sources(conn, declared().kinds)}
        if file.source in names:
            accept(conn, declared().kinds, accepted, "a test")


def stale(engine: sa.Engine, pin: Pin, table: str) -> list[ChunkTask]:
    with engine.connect() as conn:
        return ledger.stale_tasks(conn, declared().table(table), redeclared(pin))


def stale_chunks(engine: sa.Engine, pin: Pin, table: str) -> list[int]:
    return [task.chunk for task in stale(engine, pin, table)]


def load(
    engine: sa.Engine, pin: Pin, spec: TableSpec, tasks: Sequence[ChunkTask], run_id: str = "run"
) -> list[tuple[ChunkTask, Counts]]:
    reader = chunk_stream(spec, [(redeclared(pin), task) for task in tasks])
    return load_stream(engine, spec, reader, run_id=run_id)


def load_stale(engine: sa.Engine, pin: Pin) -> dict[str, list[int]]:
    """Load what is stale in every table of a pin; return the chunks loaded, by table."""
    loaded = {}
    for spec in registry.specs_in(pin):
        if tasks := stale(engine, pin, spec.name):
            load(engine, pin, spec, tasks)
            loaded[spec.name] = [task.chunk for task in tasks]
    return loaded


def consolidate(engine: sa.Engine, path: Path) -> Pin:
    """Register, pin and load one file."""
    pin = observe(engine, path)
    load_stale(engine, pin)
    return pin


def findings(engine: sa.Engine, table: str) -> Mapping[str, Finding]:
    """Judge every check of the rows of a table."""
    spec, context = declared().table(table), CheckContext(engine, declared(), Settings())
    return {
        check.name: check.judge(context, spec)
        for check in CHECKS
        if any(subject.value is spec for subject in check.subjects(declared()))
    }


def all_findings(engine: sa.Engine, pin: Pin) -> dict[tuple[str, str], Finding]:
    """Return the finding of every check on every table of a pin's kind, by table and check."""
    return {
        (spec.name, check): finding
        for spec in registry.specs_in(pin)
        for check, finding in findings(engine, spec.name).items()
    }


def red(engine: sa.Engine, pin: Pin) -> dict[tuple[str, str], str]:
    """Return what the failed checks observed; warnings are left out."""
    warnings = {check.name for check in CHECKS if check.severity == "warning"}
    return {
        place: f"expected {finding.expected}, observed {finding.observed}: {finding.evidence}"
        for place, finding in all_findings(engine, pin).items()
        if not finding.passed and place[1] not in warnings
    }


#: The path of another client; that of our connections has PostgreSQL's schema alone.
AS_ANOTHER_CLIENT = sa.text("set local search_path = public")


def rows(engine: sa.Engine, query: str, **values: Any) -> list[tuple[Any, ...]]:
    with engine.connect() as conn:
        conn.execute(AS_ANOTHER_CLIENT)
        return [tuple(row) for row in conn.execute(sa.text(query), values)]


def execute(engine: sa.Engine, *statements: str, **values: Any) -> None:
    with engine.begin() as conn:
        conn.execute(AS_ANOTHER_CLIENT)
        for statement in statements:
            conn.execute(sa.text(statement), values)


def rejects(engine: sa.Engine, table: str) -> list[tuple[Any, ...]]:
    """Return (rowid, reason) of a table's rejects."""
    return rows(
        engine,
        "select source_rowid, reason from memos_ops.rejects where table_name = :table order by 1",
        table=table,
    )
