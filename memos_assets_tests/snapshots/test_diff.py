"""What a diff says of memories, links, facts and embeddings, and what it refuses."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from memos_assets.errors import SnapshotError
from memos_assets.snapshots import duck_tables
from memos_assets.snapshots.apply import apply
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.diff import diff
from memos_assets.snapshots.differences import Changed, Counts, Diff, Facts, Group, mirror
from memos_assets.snapshots.duck_tables import opened
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.store import Store, open_store
from memos_assets_tests.snapshots.generated import Row, write_manifest

MEMORIES = SnapshotTable(
    "agent",
    "memories",
    {
        "number": "bigint",
        "space_id": "bigint",
        "kind": "text",
        "content": "text",
        "retracted_at": "timestamp with time zone",
        "superseded_by": "uuid",
    },
    ("number",),
)
LINKS = SnapshotTable(
    "agent",
    "links",
    {
        "a": "bigint",
        "b": "bigint",
        "type": "text",
        "weight": "double precision",
        "automatic": "boolean",
        "a_space_id": "bigint",
    },
    ("a", "b", "type"),
)
EMBEDDINGS = SnapshotTable(
    "agent",
    "embeddings_1",
    {"memory": "bigint", "part": "smallint", "space_id": "bigint", "embedding": "halfvec(2)"},
    ("memory", "part"),
)
WRITTEN = SnapshotTable("public", "memories", {"id": "uuid", "embedding": "vector(2)"}, ("id",))
ONE, TWO = b"\x01" * 16, b"\x02" * 16


def memory(number: int, space: int = 1, kind: str = "finding", **changed: Any) -> Row:
    row = dict.fromkeys(MEMORIES.columns)
    return {
        **row,
        "number": number,
        "space_id": space,
        "kind": kind,
        "content": f"Fact {number}",
        **changed,
    }


def link(a: int, b: int, weight: float, **changed: Any) -> Row:
    row = {"a": a, "b": b, "type": "semantic", "weight": weight, "automatic": True}
    return {**row, "a_space_id": 1, **changed}


def embedding(of: int, *elements: float, part: int = 0) -> Row:
    return {"memory": of, "part": part, "space_id": 1, "embedding": list(elements)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    # As a pattern, this path would match another one.
    return open_store(str(tmp_path / "snapshots [a]*'s"))


@pytest.fixture
def compared(store: Store) -> Callable[..., Diff]:
    def compare(
        table: SnapshotTable, before: Sequence[Row], after: Sequence[Row], **how: Any
    ) -> Diff:
        a, b = write_manifest(store, (table, before)), write_manifest(store, (table, after))
        return diff(store, a, b, **how)

    return compare


def test_memories_are_counted_by_space_and_kind_and_those_that_ended_are_named(
    compared: Callable[..., Diff],
) -> None:
    before = [memory(1), memory(2), memory(3, retracted_at=0), memory(4, space=2), memory(5)]
    after = [
        *(memory(1, superseded_by=ONE), memory(2, retracted_at=0, content="Else"), memory(3)),
        *(memory(4, space=1), memory(6, kind="question", retracted_at=0)),
    ]
    (table,) = compared(MEMORIES, before, after).tables
    assert table.rows == Counts(added=1, removed=1, changed=4)
    assert table.by_column == {
        "space_id": 1,
        "content": 1,
        "retracted_at": 2,
        "superseded_by": 1,
    }
    assert table.facts == Facts(
        superseded=1,
        retracted=2,
        retracted_no_more=1,
        keys_superseded=((1,),),
        keys_retracted=((2,), (6,)),
        keys_retracted_no_more=((3,),),
    )
    # Memory 4 went from space 2 to space 1.
    assert table.groups == (
        Group(1, "finding", Counts(1, 1, 3)),
        Group(1, "question", Counts(1, 0, 0)),
        Group(2, "finding", Counts(0, 1, 0)),
    )
    assert table.kinds == (
        Group(None, "finding", Counts(1, 2, 3)),
        Group(None, "question", Counts(1, 0, 0)),
    )
    assert (table.keys_added, table.keys_removed) == (((6,),), ((5,),))
    assert table.keys_changed[1] == Changed((2,), ("content", "retracted_at"))


def test_links_are_added_removed_and_reweighted(compared: Callable[..., Diff]) -> None:
    before = [link(1, 2, 0.5), link(1, 3, 0.5), link(2, 3, 0.0), link(4, 5, 0.1)]
    after = [link(1, 2, 0.6), link(2, 3, -0.0), link(2, 4, 0.5), link(4, 5, 0.1, automatic=False)]
    (table,) = compared(LINKS, before, after).tables
    assert (table.rows, table.reweighted) == (Counts(1, 1, 3), 2)
    assert table.groups == (Group(1, "semantic", Counts(1, 1, 3)),)
    assert table.keys_added == ((2, 4, "semantic"),)


def test_an_embedding_changed_alone_unless_its_memory_says_something_else(store: Store) -> None:
    before = [embedding(1, 0.0, 1.0), embedding(2, 1.0, 0.0), embedding(3, 0.0, 1.0)]
    after = [embedding(1, -0.0, 1.0), embedding(2, 0.0, 1.0), embedding(3, 0.0, 1.0)]
    said = [memory(1), memory(2), memory(3)]
    a = write_manifest(store, (EMBEDDINGS, before), (MEMORIES, said))
    b = write_manifest(store, (EMBEDDINGS, after), (MEMORIES, said))
    c = write_manifest(
        store, (EMBEDDINGS, after), (MEMORIES, [memory(1), memory(2, content="Else"), memory(3)])
    )
    for later, alone in ((b, 2), (c, 1)):
        table = diff(store, a, later).table("agent.embeddings_1")
        assert table is not None
        assert (table.rows.changed, table.embeddings_alone) == (2, alone)


def test_every_changed_element_of_a_long_embedding_is_seen(compared: Callable[..., Diff]) -> None:
    count = 512
    table = SnapshotTable("agent", "embeddings_7", {"n": "bigint", "e": f"vector({count})"}, ("n",))
    before = [[float(n % 7 + k % 5 + 1) for k in range(count)] for n in range(count)]
    after = [list(elements) for elements in before]
    for n, elements in enumerate(after):
        elements[n] += 1e-4
    # The same elements in another order.
    after[0] = before[0][1:] + before[0][:1]
    former, later = ([{"n": n, "e": e} for n, e in enumerate(side)] for side in (before, after))
    (found,) = compared(table, former, later).tables
    assert found.rows.changed == found.embeddings_alone == count


def test_files_of_the_same_rows_are_not_opened(store: Store) -> None:
    same, before, after = [memory(1)], [link(1, 2, 0.5)], [link(1, 2, 0.6)]
    a = write_manifest(store, (LINKS, before), (MEMORIES, same))
    b = write_manifest(store, (LINKS, after), (MEMORIES, same))
    entry = a.entry("agent.memories")
    assert entry is not None
    store.delete(entry.file)
    assert [table.table for table in diff(store, a, b).tables] == ["agent.links"]
    assert diff(store, b, b).to_dict() == {
        "a": b.id,
        "b": b.id,
        "rows": {"added": 0, "removed": 0, "changed": 0},
        "tables": [],
    }


def test_columns_that_came_went_or_have_another_type_are_named(store: Store) -> None:
    former = {"id": "bigint", "x": "text", "y": "text", "z": "integer"}
    later = {"id": "bigint", "z": "bigint", "x": "text", "w": "text"}
    row = {"id": 1, "x": "a", "y": "b", "z": 1, "w": "c"}
    a, b, c = (
        write_manifest(store, (SnapshotTable("public", "t", columns, key), [row]))
        for columns, key in ((former, ("id",)), (later, ("id",)), (later, ("x",)))
    )
    (table,) = diff(store, a, b).tables
    assert (table.columns_added, table.columns_removed) == (("w",), ("y",))
    assert table.columns_retyped == {"z": ("integer", "bigint")}
    assert (table.rows, table.matched) == (Counts(), True)
    # Rows of another key are other rows.
    (table,) = diff(store, b, c).tables
    assert (table.rows, table.matched) == (Counts(added=1, removed=1), False)
    assert (table.keys_added, table.keys_removed) == ((("a",),), ((1,),))


def test_tables_that_one_snapshot_lacks_came_or_went_with_all_rows(
    store: Store, tmp_path: Path
) -> None:
    a = write_manifest(store, (LINKS, [link(1, 2, 0.5)]))
    b = write_manifest(store, (MEMORIES, [memory(1, retracted_at=0), memory(2)]))
    there = diff(store, a, b, rows=tmp_path / "rows [1]?")
    links, memories = there.tables
    assert (links.rows, links.keys_removed) == (Counts(removed=1), ((1, 2, "semantic"),))
    assert (memories.rows, memories.groups) == (
        Counts(added=2),
        (Group(1, "finding", Counts(added=2)),),
    )
    assert memories.facts is not None
    assert memories.facts.keys_retracted == ((1,),)
    assert mirror(there).to_dict() == diff(store, b, a).to_dict()
    for file in (tmp_path / "rows [1]?").iterdir():
        assert file.stat().st_mode & 0o077 == 0


def test_lists_are_cut_and_counts_are_not(compared: Callable[..., Diff]) -> None:
    after = [memory(n, space=n) for n in range(20)]
    (table,) = compared(MEMORIES, [], after, limit=3).tables
    assert table.rows.added == table.groups_in_all == 20
    assert table.keys_added == ((0,), (1,), (2,))
    assert len(table.groups) == 3


def test_a_store_that_is_not_a_folder_is_compared_and_applied(tmp_path: Path) -> None:
    store = open_store(f"memory://{tmp_path.name}")
    a = write_manifest(store, (EMBEDDINGS, [embedding(1, 0.0, 1.0), embedding(2, 1.0, 1.0)]))
    b = write_manifest(store, (EMBEDDINGS, [embedding(2, 1.0, 0.5), embedding(3, 1.0, 1.0)]))
    there = diff(store, a, b, rows=tmp_path / "rows")
    assert there.rows == Counts(1, 1, 1)
    store.delete(b.tables[0].file)
    store.delete(f"manifests/{b.id}.json")
    assert apply(store, a, there).id == b.id


def test_keys_of_every_type_are_json(compared: Callable[..., Diff]) -> None:
    (table,) = compared(WRITTEN, [], [{"id": ONE, "embedding": None}]).tables
    assert table.keys_added == (("01010101-0101-0101-0101-010101010101",),)
    dates = SnapshotTable("public", "d", {"day": "date", "b": "bytea"}, ("day", "b"))
    (table,) = compared(dates, [{"day": 0, "b": b"\xff"}], []).tables
    assert table.keys_removed == (("1970-01-01", "ff"),)


def test_a_missing_truncated_or_damaged_file_is_one_clear_error(store: Store) -> None:
    a = write_manifest(store, (LINKS, [link(1, 2, 0.5)]))
    b = write_manifest(store, (LINKS, [link(1, 2, 0.6)]))
    name = b.tables[0].file
    whole = store.read(name)
    with opened(store) as connection:
        for damage in (None, whole[:-1]):
            store.delete(name)
            if damage is not None:
                store.write(name, damage)
            with pytest.raises(SnapshotError, match=r"M807 .* Fix: "):
                diff(store, a, b, duck=connection)
        said = []
        for place in range(0, len(whole), 97):
            flipped = bytes([whole[place] ^ 0xFF])
            store.write(name, whole[:place] + flipped + whole[place + 1 :])
            try:
                # Other rows are what verify finds.
                diff(store, a, b, duck=connection)
            except SnapshotError as error:
                said.append(str(error))
    assert {one.partition(" ")[0] for one in said} == {"M810"}
    assert not any("semantic" in one for one in said)


def test_a_comparison_that_fits_neither_memory_nor_disk_says_so(
    compared: Callable[..., Diff], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duck_tables, "MEMORY_LIMIT", "1MB")
    rows = [memory(n, content=f"{n}" * 500) for n in range(5_000)]
    with pytest.raises(SnapshotError, match=r"M811 .*1MB of memory"):
        compared(MEMORIES, rows, [{**row, "kind": "answer"} for row in rows])


def test_a_diff_is_applied_to_its_first_snapshot_only_and_with_its_rows(
    store: Store, tmp_path: Path
) -> None:
    rows = tmp_path / "rows [1]?"
    a = write_manifest(store, (LINKS, [link(1, 2, 0.5), link(1, 3, 0.5)]))
    b = write_manifest(store, (LINKS, [link(1, 2, 0.6), link(1, 3, 0.5)]))
    there = diff(store, a, b, rows=rows)
    for snapshot, given in ((b, there), (a, diff(store, a, b))):
        with pytest.raises(SnapshotError, match="M812"):
            apply(store, snapshot, given)
    store.delete(b.tables[0].file)
    store.delete(f"manifests/{b.id}.json")
    (file,) = rows.glob("*.b.parquet")
    whole = file.read_bytes()
    for damaged in (b"", whole[:-9], (rows / "agent.links.a.parquet").read_bytes()):
        file.write_bytes(damaged)
        with pytest.raises(SnapshotError, match="M813"):
            apply(store, a, there)
        assert store.ids() == [a.id]
        assert store.names("partial") == []
    file.write_bytes(whole)
    made: Manifest = apply(store, a, there)
    assert store.manifest(b.id) == made == b
