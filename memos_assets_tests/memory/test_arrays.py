"""Arrays that are sent as text: PostgreSQL reads what Python had."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.memory.arrays import array, bigints

_ONE = uuid.UUID(int=1)


@pytest.mark.parametrize(
    ("values", "of"),
    [
        (
            ["", "null", None, 'a "b" \\ c', "{x,y}", "line\nline\ttab", " space ", "ü\U0001f600"],
            "text",
        ),
        ([0.1, None, -1e300, 5e-324, float("inf"), 1], "float8"),
        ([_ONE, None], "uuid"),
        ([datetime.min.replace(tzinfo=UTC), None, datetime.max.replace(tzinfo=UTC)], "moment"),
        ([datetime(2026, 5, 1, 2, 3, 4, 5, timezone(timedelta(hours=-3, minutes=-30)))], "moment"),
        ([], "text"),
    ],
)
def test_an_array_comes_back_as_it_was(
    shared_engine: sa.Engine, values: Sequence[object], of: str
) -> None:
    types: dict[str, sa.types.TypeEngine[Any]] = {
        "text": sa.Text(),
        "float8": sa.Double(),
        "uuid": sa.Uuid(),
        "moment": sa.DateTime(timezone=True),
    }
    with shared_engine.connect() as conn:
        assert conn.execute(sa.select(array(values, types[of]))).scalar_one() == values


def test_numbers_come_back_as_they_were(shared_engine: sa.Engine) -> None:
    numbers = [0, -1, 2**63 - 1, -(2**63)]
    with shared_engine.connect() as conn:
        assert conn.execute(sa.select(bigints(iter(numbers)))).scalar_one() == numbers
