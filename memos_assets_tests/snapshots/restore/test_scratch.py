"""A restore that is taken back proves a snapshot, and V46 says so of the one of yesterday."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import SecretStr

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.memory.acting import act_as
from memos_assets.memory.service.crypto import key_ring
from memos_assets.memory.service.prepared import prepared
from memos_assets.memory.service.store import store_memory
from memos_assets.settings import Settings
from memos_assets.snapshots.checks import restores_exactly
from memos_assets_tests.snapshots.restore.conftest import Agents


def test_v46_yesterdays_snapshot_restores_exactly_fails_for_rows_that_are_not_those_of_its_digest(
    agents: Agents,
) -> None:
    agents.remember("the pump leaks", "the valve is new", user="ann")
    keys = key_ring(Settings(encryption_key=SecretStr("a passphrase of theirs")))
    with agents.sessions.begin() as session:
        act_as(session, user="u1")
        # It waits for its embedding, which is NULL.
        store_memory(session, "u1", prepared(keys, "My sponsor"))
    yesterdays = agents.snapshot()
    then = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    path = Path(agents.store.path(f"manifests/{yesterdays.id}.json"))
    path.write_text(path.read_text().replace(yesterdays.made_at, then))
    agents.remember("the pump was mended")
    todays = agents.snapshot()
    settings = agents.settings.model_copy(update={"snapshots_url": SecretStr(agents.store.root)})
    context = CheckContext(agents.engine, MEMOS, settings)

    judged = restores_exactly(context, None)
    assert judged.observed.endswith("have its digests")
    assert judged.passed
    assert judged.evidence["snapshot"] == yesterdays.id
    assert judged.evidence["rows"] == yesterdays.rows
    assert {"agent.memories", "public.memories"} <= set(judged.evidence["tables"])
    assert not [name for name in agents.schemas() if "restore" in name]
    assert agents.count("agent.memories") == 7

    # A whole Parquet file of the right form, with rows of today.
    former, now = yesterdays.entry("agent.memories"), todays.entry("agent.memories")
    assert former is not None
    assert now is not None
    Path(agents.store.path(former.file)).write_bytes(Path(agents.store.path(now.file)).read_bytes())
    path.write_text(path.read_text().replace(f'"bytes": {former.bytes},', f'"bytes": {now.bytes},'))
    judged = restores_exactly(context, None)
    assert (judged.passed, judged.observed[:4]) == (False, "M818")
    assert "agent.memories has 7 rows instead of 6" in judged.observed
    agents.store.delete(former.file)
    judged = restores_exactly(context, None)
    assert (judged.passed, judged.observed[:4]) == (False, "M807")
