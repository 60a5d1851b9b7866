"""Generated pairs of snapshots: equal ones, the way back, and the second from the first."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memos_assets.snapshots.apply import apply
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.diff import diff
from memos_assets.snapshots.differences import mirror
from memos_assets.snapshots.duck_tables import opened
from memos_assets.snapshots.store import Store, open_store
from memos_assets_tests.snapshots.generated import Row, write_manifest

#: Each example is three: a and a, b and a, b from a.
EXAMPLES = 340
_FLOATS = (0.0, -0.0, 1.5, float("nan"), float("inf"))
_UUIDS = (b"\x00" * 16, b"\x7f" * 16, b"\x80" + b"\x00" * 15, b"\xff" * 16)
_TEXTS = ("", "a", "B", "ä", "\U0001f980", "a\x01", 'it\'s "x"')

#: Type -> a few values, so that rows of two snapshots are often the same; NULL is added.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.sampled_from(_TEXTS),
    "jsonb": st.sampled_from(['{"a": 1}', "[]", "null"]),
    "bytea": st.sampled_from([b"", b"\x00", b"\xff"]),
    "boolean": st.booleans(),
    "bigint": st.sampled_from([-(2**63), 0, 1, 2**63 - 1]),
    "double precision": st.sampled_from(_FLOATS),
    "real": st.sampled_from(_FLOATS),
    "real[]": st.lists(st.sampled_from([*_FLOATS, None]), max_size=2),
    "text[]": st.lists(st.sampled_from([*_TEXTS, None]), max_size=2),
    "uuid": st.sampled_from(_UUIDS),
    "date": st.sampled_from([-719_162, 0, 2_932_896]),
    "timestamp with time zone": st.sampled_from([-62_135_596_800_000_000, 0, 1]),
    "vector(2)": st.lists(st.sampled_from(_FLOATS[:3]), min_size=2, max_size=2),
    "halfvec(3)": st.lists(st.sampled_from(_FLOATS[:3]), min_size=3, max_size=3),
    "sparsevec(9)": st.sampled_from(
        [{"dimension": 9, "indices": [0, 4], "values": [one, 2.0]} for one in (1.0, -1.0)]
    ),
}
KEYS = {
    ("bigint",): st.tuples(st.integers(0, 9)),
    ("uuid",): st.tuples(st.sampled_from(_UUIDS)),
    ("text",): st.tuples(st.sampled_from(_TEXTS)),
    ("bigint", "text"): st.tuples(st.integers(-1, 1), st.sampled_from(_TEXTS)),
}
#: A table by name -> the types of its key and its columns, one of which may be another later on.
TABLES = st.fixed_dictionaries(
    {
        "key": st.sampled_from(sorted(KEYS)),
        "columns": st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=4),
        "another": st.none() | st.sampled_from(sorted(VALUES)),
        "dropped": st.booleans(),
    }
)


def _table(draw: st.DrawFn, form: dict[str, Any], *, later: bool) -> SnapshotTable:
    """Return a table `agent.memories`, whose columns have names that mean something."""
    names = ("content", "weight", "kind", "superseded_by")
    columns = dict(zip(names, form["columns"], strict=False))
    if later and form["another"] is not None:
        columns["content"] = form["another"]
    if later and form["dropped"] and len(columns) > 1:
        del columns[list(columns)[-1]]
    key = {f"k{number}": postgres for number, postgres in enumerate(form["key"])}
    name = draw(st.sampled_from(["memories", "links"])) if not later else form["name"]
    form["name"] = name
    return SnapshotTable("agent", name, {**key, **columns}, tuple(key))


def _order(key: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(one.encode() if isinstance(one, str) else one for one in key)


@st.composite
def pairs(draw: st.DrawFn) -> list[tuple[SnapshotTable, list[Row]]]:
    """Return a table and its rows in two snapshots."""
    form: dict[str, Any] = dict(draw(TABLES))
    keys = KEYS[form["key"]]
    found: list[tuple[SnapshotTable, list[Row]]] = []
    former: dict[tuple[Any, ...], Row] = {}
    for later in (False, True):
        table = _table(draw, form, later=later)
        rows: dict[tuple[Any, ...], Row] = {}
        for key in sorted(draw(st.sets(keys, max_size=6)), key=_order):
            before = former.get(key, {})
            same = draw(st.booleans())
            rows[key] = {
                **dict(zip(table.key, key, strict=True)),
                **{
                    column: before[column]
                    if same and column in before and found[0][0].columns[column] == postgres
                    else draw(st.none() | VALUES[postgres])
                    for column, postgres in table.columns.items()
                    if column not in table.key
                },
            }
        found.append((table, list(rows.values())))
        former = rows
    return found


@pytest.fixture(scope="module")
def stores() -> Iterator[list[Store]]:
    # A folder in memory, where there is one, forces nothing to a disk.
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() else None
    folders = [tempfile.mkdtemp(prefix="memos-test-", dir=parent) for _ in range(3)]
    yield [open_store(folder) for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)


def test_equal_snapshots_do_not_differ_and_a_diff_leads_there_and_back(
    stores: list[Store],
) -> None:
    with opened(stores[0]) as duck, opened(stores[1]) as other_duck:
        differing = 0

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        @given(pairs(), st.sampled_from(["there", "back"]))
        def hold(pair: list[tuple[SnapshotTable, list[Row]]], direction: str) -> None:
            nonlocal differing
            store, other, rows = stores
            shutil.rmtree(other.root)
            shutil.rmtree(rows.root)
            a, b = (write_manifest(store, one) for one in pair)
            assert diff(store, a, a, duck=duck).tables == ()
            there = diff(store, a, b, rows=Path(rows.root), duck=duck)
            back = mirror(there)
            assert back.to_dict() == diff(store, b, a, duck=duck).to_dict()
            assert mirror(back) == there
            assert (there.tables == ()) == (a.id == b.id)
            differing += bool(there.tables)

            way, begin = (back, pair[1]) if direction == "back" else (there, pair[0])
            assert write_manifest(other, begin).id == way.a.id
            assert apply(other, way.a, way, duck=other_duck).id == way.b.id

        hold()
    assert differing > EXAMPLES / 2
