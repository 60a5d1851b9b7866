"""A killed process (signal 9) loses nothing that it committed, and leaves nothing else."""

import signal
import subprocess
import sys

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.memory import SyncMemory
from memos_assets.settings import Settings

#: Remembers two values, one of which ends the other, and waits to be killed.
PROCESS = """
import sys, time
from pydantic import SecretStr
from memos_assets.memory import SyncMemory, sync_sessions_for
from memos_assets.settings import Settings

home, url, user, committed = sys.argv[1:]
settings = Settings(
    home=home, database_url=SecretStr(url), embedder="deterministic", embedder_dimension=64
)
memory = SyncMemory(settings)
about = {"subject": "anna", "attribute": "city"}
texts = [{"text": f"Anna lives in {city}.", **about} for city in ("Riga", "Oslo")]
prepared = memory.prepare_many(texts)
session = sync_sessions_for(settings)()
memory.act_as(session, user=user)
memory.remember(session, prepared)
if committed == "yes":
    session.commit()
print("remembered", flush=True)
time.sleep(60)
"""
TABLES = ("memories", "revisions", "postings", "word_counts", "outbox", "spaces", "embeddings_1")


def counts(owner: sa.Connection) -> dict[str, int]:
    owner.rollback()
    return {
        table: owner.exec_driver_sql(f"select count(*) from agent.{table}").scalar_one()
        for table in TABLES
    }


@pytest.mark.parametrize("committed", ["yes", "no"])
def test_what_was_committed_is_there_after_a_kill_and_nothing_else(
    shared_settings: Settings,
    shared_sessions: sessionmaker[Session],
    owner: sa.Connection,
    memory: SyncMemory,
    user: str,
    committed: str,
) -> None:
    before = counts(owner)
    assert shared_settings.database_url is not None
    url = shared_settings.database_url.get_secret_value()
    arguments = [str(shared_settings.home), url, user, committed]
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        process.kill()
    assert (said, process.returncode) == ("remembered\n", -signal.SIGKILL)
    with shared_sessions() as session:
        memory.act_as(session, user=user)
        found = memory.recall(session, memory.query("Where does Anna live?"))
        then = memory.recall(session, memory.query("Where does Anna live?"), as_of="2020-01-01")
    if committed == "yes":
        assert [hit.content for hit in found] == ["Anna lives in Oslo."]
        assert [hit.content for hit in then] == ["Anna lives in Riga."]
    else:
        assert (found, then, counts(owner)) == ([], [], before)
