"""V28 and V29, each on a real connection that is wrong."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from memos_assets.proof.channel.checks import channel_keeps_values, public_is_ours
from memos_assets.proof.channel.sentinels import SENTINELS


def test_every_value_passes_a_connection_of_ours(shared_engine: sa.Engine) -> None:
    with shared_engine.connect() as conn:
        finding = channel_keeps_values(conn)
        assert finding.passed, finding.evidence
        assert finding.expected.startswith("31 values of 9 types")
        assert {one.type for one in SENTINELS} >= {"text", "jsonb", "vector", "halfvec"}
        assert conn.exec_driver_sql("select to_regclass('pg_temp.sentinels')").scalar() is None


@pytest.mark.parametrize(
    ("setting", "value", "wrong"),
    [
        ("client_encoding", "LATIN1", ("text sent by COPY", "jsonb sent by COPY")),
        ("extra_float_digits", "-9", ("vector", "halfvec")),
    ],
)
def test_v28_channel_keeps_values_fails_through_a_wrong_channel(
    shared_engine: sa.Engine, setting: str, value: str, wrong: tuple[str, ...]
) -> None:
    """The engine is one that sets nothing, as before there were channels."""
    url = shared_engine.url.update_query_dict(
        {"options": f"-c search_path=public -c {setting}={value}"}
    )
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as conn:
        finding = channel_keeps_values(conn)
    assert finding.passed is False
    found = " ".join(finding.evidence["differences"])
    assert all(part in found for part in wrong), found


@pytest.fixture
def stranger(engine: sa.Engine) -> Iterator[str]:
    name = f"stranger_{engine.url.database}"
    with engine.begin() as conn:
        conn.exec_driver_sql(f"create role {name} login")
    yield name
    with engine.begin() as conn:
        conn.exec_driver_sql(f"drop owned by {name}; drop role {name}")


@pytest.mark.parametrize("grantee", ["stranger", "public"])
def test_v29_public_is_ours_fails_where_others_may_create(
    engine: sa.Engine, stranger: str, grantee: str
) -> None:
    role = stranger if grantee == "stranger" else grantee
    with engine.begin() as conn:
        assert public_is_ours(conn).passed
        conn.exec_driver_sql(f"grant create on schema public to {role}")
        finding = public_is_ours(conn)
        assert not finding.passed
        (revoke,) = finding.evidence["revoke"]
        assert revoke == f"revoke create on schema public from {role}"
        conn.exec_driver_sql(revoke)
        assert public_is_ours(conn).passed
