"""Text on its way into PostgreSQL."""

import pytest
import sqlalchemy as sa

from memos_assets.postgres.storable_text import is_storable, storable_text


@pytest.mark.parametrize(
    ("text", "stored"),
    [("as it is é\n", "as it is é\n"), ("a\0b", "a b"), ("half \ud800", "half ?")],
)
def test_postgresql_holds_what_is_left(engine: sa.Engine, text: str, stored: str) -> None:
    with engine.connect() as conn:
        read = conn.execute(sa.select(sa.cast(storable_text(text), sa.Text))).scalar_one()
    assert read == stored


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("", True),
        ("é 温度 \U0001f600", True),
        ("a\0b", False),
        ("half \ud800", False),
        (b"a", False),
    ],
)
def test_postgresql_holds_text_without_nul_and_halves_of_pairs(
    text: object, *, holds: bool
) -> None:
    assert is_storable(text) is holds
