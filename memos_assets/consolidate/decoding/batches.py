"""Decode raw SQLite rows into one Arrow batch; a row that cannot be loaded has a reason."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from memos_assets.catalog import TableSpec
from memos_assets.catalog.columns import VectorColumn
from memos_assets.catalog.tables import Link
from memos_assets.consolidate.decoding.rejected import RejectedValue
from memos_assets.consolidate.decoding.repair_rules import (
    Fault,
    Rules,
    Verdict,
    decode_with_rules,
    may_be_emptied,
)
from memos_assets.consolidate.decoding.values import COMPUTED, DECODERS, decode_usual, integral
from memos_assets.consolidate.decoding.vectors import decode_vectors
from memos_assets.postgres.schema.tables import DROP
from memos_assets.sqlite.row_codec import Value, row_bytes

#: PostgreSQL refuses a longer B-tree entry; a third of a page, less its overhead.
LONGEST_KEY_BYTES = 2_600
_LARGEST_DIMENSION = 2**31 - 1
#: Schema metadata key of a batch: see `integral_reals`.
INTEGRAL_REALS = b"memos.integral_reals"


#: How the detail of a loose end ends whose other row is a reject, too.
IS_REJECTED = "is rejected itself"


@dataclass(frozen=True, slots=True)
class RawBatch:
    """n rows as SQLite returned them.

    Attributes:
        rowids: n rowids, ascending.
        values: SQLite column -> its n values.
        resolved: one sequence per link of the spec: 1 the end exists, 0 it does not, None no end.
    """

    rowids: Sequence[int]
    values: Mapping[str, Sequence[Value]]
    resolved: Sequence[Sequence[int | None]]


def decode_batch(
    spec: TableSpec,
    batch: RawBatch,
    *,
    source: str,
    chunk: int,
    schema: pa.Schema,
    rules: Rules,
    unloadable: Mapping[str, frozenset[Value]],
    seen: set[tuple[Value, ...]],
    stored_row: Callable[[int], Mapping[str, Value]],
) -> pa.RecordBatch:
    """Decode a batch of rows of one chunk.

    Args:
        spec: the table.
        batch: the rows.
        source: name of the source, the first part of every key.
        chunk: number of the chunk.
        schema: `shapes.stream_schema` of the spec.
        rules: what was decided about rows of the table.
        unloadable: per linked table, keys that exist in the file but are rejected themselves.
        seen: keys of the chunk so far; added to.
        stored_row: returns all columns of the source row with a rowid, for the rejects.

    Returns:
        The batch; mirrored rows follow the rows they mirror. Rejected rows have only their place
        and ``reject`` set, rows that a rule changed have ``reject`` set beside their values.
    """
    decoded, verdicts = _plain_columns(spec, batch, rules)
    _check_keys(spec, batch, decoded, verdicts, rules, seen, len(source.encode()))
    loose = _check_links(spec, batch, decoded, verdicts, rules, unloadable)
    left_out = [row for row, verdict in verdicts.items() if not verdict.is_loaded]

    count = len(batch.rowids)
    arrays: dict[str, pa.Array] = {
        "source": pa.array([source] * count, pa.string()),
        "chunk": pa.array([chunk] * count, pa.int32()),
        "source_rowid": pa.array(batch.rowids, pa.int64()),
    }
    for column in spec.columns:
        values = decoded[column.name]
        for row in left_out:
            values[row] = None
        arrays[column.name] = pa.array(values, schema.field(column.name).type)
    for vector in spec.vectors:
        arrays.update(_vector_arrays(vector, batch, schema, left_out))
    if spec.mirrored:
        arrays["reversed"] = pa.array([False] * count, pa.bool_())
    if spec.has_loose_links:
        arrays["missing"] = pa.array(loose, schema.field("missing").type)
    arrays["reject"] = pa.array(
        [_reject_value(spec, batch, verdicts.get(row), row, stored_row) for row in range(count)],
        schema.field("reject").type,
    )
    result = pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)
    if spec.mirrored:
        result = _with_mirrors(result)
    converted = _integral_reals(spec, batch)
    return (
        result.replace_schema_metadata(
            {**(schema.metadata or {}), INTEGRAL_REALS: json.dumps(converted).encode()}
        )
        if converted
        else result
    )


def integral_reals(batch: pa.RecordBatch) -> Counter[str]:
    """Return SQLite column -> REAL values of a batch that were read as the integers they equal."""
    raw = (batch.schema.metadata or {}).get(INTEGRAL_REALS)
    return Counter(json.loads(raw)) if raw else Counter()


def _integral_reals(spec: TableSpec, batch: RawBatch) -> dict[str, int]:
    found = {}
    for origin in spec.integer_origins:
        stored = batch.values[origin]
        if float in set(map(type, stored)):
            count = sum(integral(value) is not value for value in stored)
            if count:
                found[origin] = count
    return found


def rejected_rows(
    spec: TableSpec,
    batch: RawBatch,
    rules: Rules,
    seen: set[tuple[Value, ...]],
    source_bytes: int,
) -> frozenset[int]:
    """Return which rows of a batch are not loaded for a reason of their own, links left aside."""
    decoded, verdicts = _plain_columns(spec, batch, rules)
    _check_keys(spec, batch, decoded, verdicts, rules, seen, source_bytes)
    return frozenset(row for row, verdict in verdicts.items() if not verdict.is_loaded)


def _plain_columns(
    spec: TableSpec, batch: RawBatch, rules: Rules
) -> tuple[dict[str, list[Any]], dict[int, Verdict]]:
    verdicts: dict[int, Verdict] = {}
    decoded: dict[str, list[Any]] = {}
    for column in spec.columns:
        stored = batch.values[column.origin]
        usual = None if column.computed else decode_usual(column.kind, stored)
        if usual is not None:
            decoded[column.name] = usual
            continue
        decode = COMPUTED[column.name] if column.computed else DECODERS[column.kind].value
        values: list[Any] = []
        for row, value in enumerate(stored):
            if value is None:
                values.append(None)
                continue
            try:
                values.append(decode(value))
                continue
            except RejectedValue:
                made, faults = decode_with_rules(spec, column, value, decode, rules)
            values.append(made)
            for fault in faults:
                verdicts.setdefault(row, Verdict()).add(fault)
        decoded[column.name] = values
    return decoded, verdicts


def _check_keys(
    spec: TableSpec,
    batch: RawBatch,
    decoded: Mapping[str, Sequence[Any]],
    verdicts: dict[int, Verdict],
    rules: Rules,
    seen: set[tuple[Value, ...]],
    source_bytes: int,
) -> None:
    def reject(row: int, reason: str, detail: str) -> None:
        # Nothing but leaving it out is done about a row that its key does not name.
        rule = DROP if rules.get(reason) == DROP else None
        verdicts.setdefault(row, Verdict()).faults.insert(0, Fault(reason, detail, rule))

    columns = [decoded[name] for name in spec.key]
    stored = [batch.values[spec.column(name).origin] for name in spec.key]
    for row, key in enumerate(zip(*columns, strict=True)):
        if any(values[row] is None for values in stored):
            reject(row, "null_key", f"key {', '.join(spec.key)}")
        if row in verdicts and not verdicts[row].is_loaded:
            continue
        size = source_bytes + sum(len(str(part).encode()) for part in key)
        if size > LONGEST_KEY_BYTES:
            reject(row, "key_too_long", f"{size} bytes")
        elif key in seen:
            reject(row, "duplicate_key", repr(key)[:80])
        else:
            seen.add(key)


def _check_links(
    spec: TableSpec,
    batch: RawBatch,
    decoded: Mapping[str, list[Any]],
    verdicts: dict[int, Verdict],
    rules: Rules,
    unloadable: Mapping[str, frozenset[Value]],
) -> list[list[str] | None]:
    """Reject rows with a dangling declared link; return the loose ends of the others."""
    loose: list[list[str] | None] = [None] * len(batch.rowids)
    rule = rules.get("dangling_end")
    for link, resolved in zip(spec.links, batch.resolved, strict=True):
        ends = decoded[link.column]
        emptied = rule == "null_end" and may_be_emptied(spec, link)
        applied = rule if emptied or rule == DROP else None
        for row, (end, exists) in enumerate(zip(ends, resolved, strict=True)):
            if end is None or (row in verdicts and not verdicts[row].is_loaded):
                continue
            if exists and end not in unloadable.get(link.table, frozenset()):
                continue
            if link.declared:
                fault = Fault("dangling_end", _dangling(link, end, exists), applied)
                verdicts.setdefault(row, Verdict()).add(fault)
                if emptied:
                    ends[row] = None
            else:
                loose[row] = [*(loose[row] or []), link.column]
    return loose


def _dangling(link: Link, end: str, exists: int | None) -> str:
    state = IS_REJECTED if exists else "does not exist"
    return f"{link.column} {end[:80]!r} {state}"


def _vector_arrays(
    vector: VectorColumn, batch: RawBatch, schema: pa.Schema, left_out: Sequence[int]
) -> dict[str, pa.Array]:
    stored = list(batch.values[vector.origin])
    for row in left_out:
        stored[row] = None
    stated = batch.values[vector.dimension_origin] if vector.dimension_origin else None
    decoded = decode_vectors(vector, stored, stated)
    offsets = np.concatenate(([0], np.cumsum(decoded.dimensions, dtype=np.int32))).astype(np.int32)
    embedding_type = schema.field(vector.name).type
    missing = np.array([reason is not None for reason in decoded.reasons], dtype=bool)
    embeddings = pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()),
        pa.array(decoded.elements, embedding_type.value_type),
        type=embedding_type,
        mask=pa.array(missing),
    )
    dimensions: list[int | None]
    if stated is None:
        dimensions = [int(n) or None for n in decoded.dimensions]
    else:
        dimensions = [
            n if isinstance(n, int) and 0 <= n <= _LARGEST_DIMENSION else None
            for n in map(integral, stated)
        ]
    reasons: list[str | None] = list(decoded.reasons)
    for row in left_out:
        dimensions[row] = reasons[row] = None
    return {
        vector.name: embeddings,
        vector.dimension_name: pa.array(dimensions, pa.int32()),
        vector.reason_name: pa.array(reasons, pa.string()),
    }


def _reject_value(
    spec: TableSpec,
    batch: RawBatch,
    verdict: Verdict | None,
    row: int,
    stored_row: Callable[[int], Mapping[str, Value]],
) -> dict[str, object] | None:
    if verdict is None:
        return None
    key = [batch.values[spec.column(name).origin][row] for name in spec.key]
    stored = stored_row(batch.rowids[row])
    raw = row_bytes(list(stored.values()))
    return {
        "reason": verdict.named.reason,
        "detail": verdict.named.detail,
        "key": json.dumps([part.hex() if isinstance(part, bytes) else part for part in key]),
        "row_digest": hashlib.sha256(raw).hexdigest(),
        "columns": list(stored),
        "row": raw,
        "resolution": verdict.resolution,
        "faults": [fault.reason for fault in verdict.faults],
    }


def _with_mirrors(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Append the reversed row of every loaded row whose flag says that it counts both ways."""
    rows = [
        row
        for row, (flag, start, end) in enumerate(
            zip(
                batch.column("bidirectional").to_pylist(),
                batch.column("from_id").to_pylist(),
                batch.column("to_id").to_pylist(),
                strict=True,
            )
        )
        if flag and start != end
    ]
    if not rows:
        return batch
    forward = batch.take(pa.array(rows, pa.int64()))
    columns = {name: forward.column(name) for name in batch.schema.names}
    columns["from_id"], columns["to_id"] = columns["to_id"], columns["from_id"]
    columns["reversed"] = pa.array([True] * len(rows), pa.bool_())
    columns["reject"] = pa.nulls(len(rows), batch.schema.field("reject").type)
    mirrors = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
    return pa.concat_batches([batch, mirrors])
