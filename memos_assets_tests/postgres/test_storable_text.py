"""Text on its way into PostgreSQL."""

import pytest
import sqlalchemy as sa

from memos_assets.postgres.storable_text import storable_text


@pytest.mark.parametrize(
    ("text", "stored"),
    [("as it is é\n", "as it is é\n"), ("a\0b", "a b"), ("half \ud800", "half ?")],
)
def test_postgresql_holds_what_is_left(engine: sa.Engine, text: str, stored: str) -> None:
    with engine.connect() as conn:
        read = conn.execute(sa.select(sa.cast(storable_text(text), sa.Text))).scalar_one()
    assert read == stored
