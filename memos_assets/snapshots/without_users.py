"""The rows of a snapshot without those of erased users, as an erasure of live tables leaves them.

What belongs to a user is decided by `postgres.user_rows`, for both. Users are known by the sha256
of their ids, so that an erasure that was interrupted is finished without the id. Columns that name
a user, a memory or a space are read first; a table without a row to change stays as it is.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from memos_assets.postgres.schema.agent import AGENT_SCHEMA, is_of_embeddings
from memos_assets.postgres.user_rows import (
    BY_USER,
    ERASED,
    MENTIONS,
    Mention,
    naming_columns,
    owning_columns,
)
from memos_assets.snapshots import reader
from memos_assets.snapshots.manifest import Manifest, TableEntry
from memos_assets.snapshots.store import Store

_REASON: Final = "what it was derived from was erased"
_SPACES, _GRANTS, _MEMORIES, _REVISIONS, _PROVENANCE = (
    f"{AGENT_SCHEMA}.{name}" for name in ("spaces", "grants", "memories", "revisions", "provenance")
)


def users_in(store: Store, entry: TableEntry) -> frozenset[str]:
    """Return the users that a table of a snapshot names.

    Raises:
        SnapshotError: M807 its file is missing or damaged.
    """
    named = naming_columns(entry.schema, entry.name, dict(entry.columns))
    if not named:
        return frozenset()
    found: set[str] = set()
    for batch in reader.batches(store, entry, columns=list(named)):
        for column, behind_prefix in named.items():
            for user in pc.unique(batch[column]).to_pylist():
                if user is not None and not behind_prefix:
                    found.add(user)
                elif user is not None and user.startswith(BY_USER):
                    found.add(user.removeprefix(BY_USER))
    return frozenset(found)


@dataclass(frozen=True, eq=False)
class Taken:
    """What belongs to erased users within one snapshot, and what it leaves to others.

    Attributes:
        users: their ids.
        at: when they were erased.
        private: ids of their private spaces.
        numbers: of their memories, bigint.
        ids: of their memories, 16 bytes each.
        left: ids of their shared spaces that stay, because others are in them.
        heirs: space -> the first of the others who may write it.
        wrong: memories of others that were derived from theirs: the columns of `_WRONG`.
    """

    users: frozenset[str]
    at: datetime
    private: frozenset[int]
    numbers: pa.Array
    ids: pa.Array
    left: frozenset[int]
    heirs: Mapping[int, str]
    wrong: pa.Table

    @cached_property
    def sets(self) -> dict[str, pa.Array]:
        """What a column names -> the values by which a row belongs to the users."""
        return {
            "user": pa.array(sorted(self.users), pa.string()),
            "memory": self.numbers,
            "space": pa.array(sorted(self.private), pa.int64()),
        }

    @cached_property
    def mentions(self) -> dict[str, pa.Array]:
        """What a mention names -> the values that are taken out of rows of others."""
        users = sorted(self.users)
        return {
            "user": pa.array(users, pa.string()),
            "source": pa.array([BY_USER + user for user in users], pa.string()),
            "memory": self.ids,
        }

    @cached_property
    def digest(self) -> str:
        """Of all that decides on the rows of a table; equal ones leave equal rows."""
        whole = hashlib.sha256(self.at.isoformat().encode())
        parts: tuple[object, ...] = (
            *(sorted(self.users), sorted(self.private), sorted(self.left)),
            *(sorted(self.heirs.items()), self.wrong.to_pylist(), self.numbers.to_pylist()),
        )
        for part in parts:
            whole.update(repr(part).encode())
        return whole.hexdigest()


_WRONG: Final = (
    *("number", "space_id", "valid_from", "valid_until"),
    *("superseded_by", "retracted_at"),
)


def find_taken(store: Store, manifest: Manifest, users: Collection[str], at: datetime) -> Taken:
    """Return what belongs to users within a snapshot.

    Args:
        store: of the snapshot.
        manifest: of the snapshot.
        users: their ids, as its tables have them.
        at: when they were erased.

    Raises:
        SnapshotError: M807.
    """
    mine = frozenset(users)
    spaces = list(_rows(store, manifest, _SPACES, ("id", "owner", "private")))
    private = {one["id"] for one in spaces if one["private"] and one["owner"] in mine}
    numbers, ids, occupied = _memories(store, manifest, mine, private)
    heirs: dict[int, str] = {}
    granted = set()
    for grant in _rows(store, manifest, _GRANTS, ("space_id", "user_id", "access")):
        if grant["user_id"] in mine:
            continue
        space, user = grant["space_id"], grant["user_id"]
        granted.add(space)
        if grant["access"] == "read_write":
            # The least by its bytes; PostgreSQL's `min` compares by the collation of the database.
            heirs[space] = min(heirs.get(space, user), user)
    shared = {one["id"] for one in spaces if not one["private"] and one["owner"] in mine}
    return Taken(
        users=mine,
        at=at,
        private=frozenset(private),
        numbers=numbers,
        ids=ids,
        left=frozenset(shared & (granted | occupied)),
        heirs=heirs,
        wrong=_derived(store, manifest, numbers),
    )


def _rows(
    store: Store, manifest: Manifest, table: str, columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    entry = manifest.entry(table)
    if entry is not None:
        for batch in reader.batches(store, entry, columns=list(columns)):
            yield from batch.to_pylist()


def _memories(
    store: Store, manifest: Manifest, users: frozenset[str], private: Collection[int]
) -> tuple[pa.Array, pa.Array, set[int]]:
    """Return numbers and ids of the users' memories, and the spaces with memories of others."""
    numbers: list[pa.Array] = []
    ids: list[pa.Array] = []
    occupied: set[int] = set()
    by_user, by_space = pa.array(sorted(users), pa.string()), pa.array(sorted(private), pa.int64())
    entry = manifest.entry(_MEMORIES)
    columns = ["number", "id", "space_id", "user_id"]
    for batch in [] if entry is None else reader.batches(store, entry, columns=columns):
        mask = pc.or_(
            pc.is_in(batch["user_id"], value_set=by_user),
            pc.is_in(batch["space_id"], value_set=by_space),
        )
        numbers.append(batch["number"].filter(mask))
        ids.append(_stored(batch["id"]).filter(mask))
        others = batch["space_id"].filter(pc.invert(mask))
        occupied.update(pc.unique(others).to_pylist())
    return _joined(numbers, pa.int64()), _joined(ids, pa.binary(16)), occupied


def _joined(arrays: list[pa.Array], of: pa.DataType) -> pa.Array:
    return pa.concat_arrays(arrays) if arrays else pa.array([], of)


def _derived(store: Store, manifest: Manifest, numbers: pa.Array) -> pa.Table:
    """Return the memories of others that were derived from some, through any number of steps."""
    schema = pa.schema([(name, pa.int64()) for name in ("memory", "derived_from")])
    provenance, memories = manifest.entry(_PROVENANCE), manifest.entry(_MEMORIES)
    if provenance is None or memories is None:
        return pa.table({name: [] for name in _WRONG})
    steps = pa.Table.from_batches(
        (batch.cast(schema) for batch in reader.batches(store, provenance, columns=schema.names)),
        schema,
    )
    reached = numbers
    while True:
        ends = steps["memory"].filter(pc.is_in(steps["derived_from"], value_set=reached))
        more = ends.filter(pc.invert(pc.is_in(ends, value_set=reached)))
        if not len(more):
            break
        reached = pa.concat_arrays([reached, pc.unique(more)])
    whole = reader.schema_of(memories)
    schema_of_wrong = pa.schema([whole.field(name) for name in _WRONG])
    found = []
    for batch in reader.batches(store, memories, columns=list(_WRONG)):
        number = batch["number"]
        mask = pc.and_(
            pc.is_in(number, value_set=reached),
            pc.and_(
                pc.invert(pc.is_in(number, value_set=numbers)), pc.is_null(batch["retracted_at"])
            ),
        )
        found.append(batch.filter(mask))
    return pa.Table.from_batches(found, schema_of_wrong)


def _stored(column: pa.Array) -> pa.Array:
    """Return a column whose values pyarrow compares: UUIDs as their 16 bytes."""
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def is_changed(store: Store, entry: TableEntry, taken: Taken) -> bool:
    """Say whether a table has a row of the users, or one that names them.

    Raises:
        SnapshotError: M807.
    """
    if entry.qualified == _REVISIONS and len(taken.wrong):
        return True
    columns = _deciding(entry)
    if not columns:
        return False
    deciding = reader.batches(store, entry, columns=columns)
    return any(_edited(batch, entry, taken) is not batch for batch in deciding)


def _deciding(entry: TableEntry) -> list[str]:
    """Return the columns that decide on rows, in the order of the table."""
    names = [name for name, _ in entry.columns]
    wanted = set(owning_columns(entry.schema, entry.name, names))
    for mention in _mentions_in(entry):
        wanted |= {mention.column, *mention.beside}
        if mention.becomes is None:
            wanted.add("id" if entry.qualified == _SPACES else "space_id")
    end = _end_of(entry)
    if end is not None:
        wanted |= set(end)
    return [name for name in names if name in wanted]


def _mentions_in(entry: TableEntry) -> list[Mention]:
    if entry.schema != AGENT_SCHEMA:
        return []
    # A snapshot of a former revision may lack a column.
    has = dict(entry.columns)
    return [one for one in MENTIONS if one.table == entry.name and one.column in has]


def _end_of(entry: TableEntry) -> tuple[str, str] | None:
    """Return the columns of a table that name a memory, and when it ended."""
    if entry.schema != AGENT_SCHEMA:
        return None
    if entry.qualified == _MEMORIES:
        return "number", "retracted_at"
    has_end = is_of_embeddings(entry.name) and "closed_at" in dict(entry.columns)
    return ("memory", "closed_at") if has_end else None


def batches_without(store: Store, entry: TableEntry, taken: Taken) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table without those of the users, in the order of its key.

    Raises:
        SnapshotError: M807.
    """
    last = 0
    for batch in reader.batches(store, entry):
        if entry.qualified == _REVISIONS and batch.num_rows:
            last = batch["number"][-1].as_py()
        left = _edited(batch, entry, taken)
        if left.num_rows:
            yield left
    if entry.qualified == _REVISIONS and len(taken.wrong):
        yield _retractions(reader.schema_of(entry), taken, last)


def _edited(batch: pa.RecordBatch, entry: TableEntry, taken: Taken) -> pa.RecordBatch:
    """Return a batch without what belongs to the users; the same one if nothing does."""
    for mention in _mentions_in(entry):
        column = batch[mention.column]
        mask = pc.is_in(_stored(column), value_set=taken.mentions[mention.names])
        if entry.qualified == _SPACES:
            stays = pc.is_in(batch["id"], value_set=pa.array(sorted(taken.left), pa.int64()))
            mask = pc.and_(mask, stays)
        if not mask.true_count:
            continue
        new: dict[str, Any] = {mention.column: mention.becomes, **mention.beside}
        if mention.becomes is None:
            new = {mention.column: _heirs(batch, entry, taken)}
        elif mention.names == "memory":
            new = {mention.column: bytes.fromhex(mention.becomes.replace("-", ""))}
        for name, value in new.items():
            batch = _replaced(batch, name, mask, value)
    end = _end_of(entry)
    if end is not None and len(taken.wrong):
        number, ended = end
        wrong = pc.is_in(batch[number], value_set=taken.wrong["number"].combine_chunks())
        later = pc.greater(batch[ended], pa.scalar(taken.at, batch[ended].type))
        mask = pc.and_(wrong, pc.or_kleene(pc.is_null(batch[ended]), later))
        if mask.true_count:
            batch = _replaced(batch, ended, mask, taken.at)
    owned: pa.Array | None = None
    for name, names in owning_columns(entry.schema, entry.name, batch.schema.names).items():
        mask = pc.is_in(batch[name], value_set=taken.sets[names])
        owned = mask if owned is None else pc.or_(owned, mask)
    return batch if owned is None or not owned.true_count else batch.filter(pc.invert(owned))


def _heirs(batch: pa.RecordBatch, entry: TableEntry, taken: Taken) -> pa.Array:
    spaces = batch["id" if entry.qualified == _SPACES else "space_id"].to_pylist()
    return pa.array([taken.heirs.get(space, ERASED) for space in spaces], pa.string())


def _replaced(batch: pa.RecordBatch, name: str, mask: pa.Array, value: Any) -> pa.RecordBatch:
    """Return a batch with another value of a column where a mask is true."""
    field = batch.schema.field(name)
    stored = _stored(batch[name])
    other = value if isinstance(value, pa.Array) else pa.scalar(value, stored.type)
    column = pc.if_else(mask, other, stored)
    if isinstance(field.type, pa.BaseExtensionType):
        column = pa.ExtensionArray.from_storage(field.type, column)
    return batch.set_column(batch.schema.get_field_index(name), field, column)


def _retractions(schema: pa.Schema, taken: Taken, last: int) -> pa.RecordBatch:
    """Return revisions of the memories of others that are wrong now, numbered after the last."""
    rows = []
    for place, memory in enumerate(sorted(taken.wrong.to_pylist(), key=lambda one: one["number"])):
        known = {
            "number": last + 1 + place,
            "memory": memory["number"],
            "space_id": memory["space_id"],
            "action": "retract",
            "known_from": taken.at,
            "valid_from": memory["valid_from"],
            "valid_until": memory["valid_until"],
            "retracted": True,
            "superseded_by": memory["superseded_by"],
            "user_id": ERASED,
            "agent_id": "",
            "reason": _REASON,
        }
        rows.append({name: known.get(name) for name in schema.names})
    return pa.RecordBatch.from_pylist(rows, schema=schema)
