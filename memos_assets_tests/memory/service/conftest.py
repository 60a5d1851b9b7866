"""memOS's tables with a session that acts for a user, and an embedder that passes for memOS's."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet
from sqlalchemy.orm import Session

from memos_assets.memory.acting import act_as
from memos_assets.memory.service.crypto import KeyRing, NamedKey

USER = "u1"
MXBAI = "mxbai-embed-large"


@pytest.fixture(scope="session")
def keys() -> KeyRing:
    return KeyRing([NamedKey("new", Fernet(Fernet.generate_key()))])


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """A session that acts for `USER`; what it did is rolled back."""
    with Session(engine, expire_on_commit=False) as made:
        act_as(made, user=USER)
        yield made
        made.rollback()
