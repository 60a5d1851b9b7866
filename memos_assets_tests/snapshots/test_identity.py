"""The digest of rows: of what is in them, and of nothing else."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memos_assets.catalog.types import TYPES
from memos_assets.postgres.copy.arrow_schema import typed_field
from memos_assets.snapshots.columns import SnapshotTable
from memos_assets.snapshots.identity import RowsDigest

#: PostgreSQL type -> a value; `TYPES` has none that is not here.
VALUES: dict[str, Any] = {
    "text": "früh",
    "varchar(9)": "",
    "bytea": b"\x00\xff",
    "jsonb": '{"a": 1}',
    "smallint": -3,
    "integer": 2**31 - 1,
    "bigint": -(2**63),
    "real": -0.0,
    "double precision": 0.1,
    "boolean": False,
    "uuid": bytes(range(16)),
    "date": date(1969, 12, 31),
    "timestamp without time zone": datetime(2026, 11, 27, 12),  # noqa: DTZ001  it has none
    "timestamp with time zone": datetime(2026, 11, 27, 12, tzinfo=UTC),
    "vector(3)": [1.0, -2.0, 0.5],
    "halfvec(2)": [np.float16(1.5), np.float16(-0.25)],
    "sparsevec(5)": {"dimension": 5, "indices": [1, 4], "values": [1.0, -1.0]},
    "text[]": ["a", None, ""],
}
COLUMNS = {f"c{place}": postgres for place, postgres in enumerate(VALUES)}
#: Of a row of these, one of NULLs, and the first again; of pyarrow 18.1 and 26.0.
GOLDEN = "24d51db85ef535d56af9b49e0e82f060878fce1b4a51f8837404bb6ea46daef9"
SCHEMA = SnapshotTable("agent", "all", COLUMNS, ("c0",)).arrow


def rows(choices: list[list[bool]]) -> pa.RecordBatch:
    """Return rows that have a value where a choice is true, and NULL where it is not."""
    values = list(VALUES.values())
    columns = [
        pa.array([values[place] if row[place] else None for row in choices], field.type)
        for place, field in enumerate(SCHEMA)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def digest(*batches: pa.RecordBatch) -> str:
    """Return the digest of rows in batches."""
    found = RowsDigest(batches[0].schema)
    for batch in batches:
        found.update(batch)
    return found.hexdigest()


def test_every_type_of_column_has_a_digest() -> None:
    assert {name.partition("(")[0].removesuffix("[]") for name in VALUES} == set(TYPES)


def test_the_digest_of_these_rows_never_changes() -> None:
    every = [True] * len(VALUES)
    # Another one would give every snapshot another id.
    assert digest(rows([every, [False] * len(VALUES), every])) == GOLDEN


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.booleans(), min_size=len(VALUES), max_size=len(VALUES)), min_size=1, max_size=9
    ),
    st.integers(0, 9),
)
def test_batches_slices_and_what_is_below_a_null_are_of_no_account(
    choices: list[list[bool]], cut: int
) -> None:
    whole = rows(choices)
    expected = digest(whole)
    assert digest(whole.slice(0, cut), whole.slice(cut)) == expected
    within = pa.concat_batches([rows([[True] * len(VALUES)]), whole]) if cut else whole
    assert digest(within.slice(within.num_rows - whole.num_rows)) == expected


def test_each_value_its_place_and_its_absence_count() -> None:
    every = [True] * len(VALUES)
    plain = digest(rows([every, every]))
    seen = {plain}
    for place in range(len(VALUES)):
        without = [*every[:place], False, *every[place + 1 :]]
        seen |= {digest(rows([every, without])), digest(rows([without, every]))}
    assert len(seen) == 1 + 2 * len(VALUES)


def test_lengths_keep_values_apart() -> None:
    schema = pa.schema([typed_field("a", "text"), typed_field("b", "text[]")])

    def of(text: list[str], lists: list[list[str]]) -> str:
        columns = [pa.array(text), pa.array(lists, pa.list_(pa.string()))]
        return digest(pa.RecordBatch.from_arrays(columns, schema=schema))

    kinds = {
        of(["ab", "c"], [["x"], ["y"]]),
        of(["a", "bc"], [["x"], ["y"]]),
        of(["ab", "c"], [["x", "y"], []]),
        of(["ab", "c"], [["xy"], []]),
    }
    assert len(kinds) == 4


def test_rows_of_other_columns_are_refused() -> None:
    found = RowsDigest(SCHEMA)
    with pytest.raises(ValueError, match="are expected"):
        found.update(pa.record_batch({"c0": pa.array(["a"])}))
