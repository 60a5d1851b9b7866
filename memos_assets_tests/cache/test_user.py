"""Export and erasure of a user cover their answers, labels and leases; those of others stay."""

from pathlib import Path

import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cache import Answer, Computed, Scope, SyncCache
from memos_assets.memory import SyncMemory
from memos_assets.memory.erase import erase_rows
from memos_assets.memory.export import export_user
from memos_assets.settings import Settings
from memos_assets_tests.cache.test_by_meaning import NEAR, Near


def test_answers_of_a_user_are_exported_and_erased(
    sessions: sessionmaker[Session], scope: Scope, owner: sa.Engine, tmp_path: Path
) -> None:
    assert scope.user is not None
    cache, memory = SyncCache(Near()), SyncMemory(Settings())
    with sessions() as session, session.begin():
        memory.act_as(session, user=scope.user)
        cited = memory.remember(session, memory.prepare("what the answer rests on"))
    friend = Scope(user=f"friend of {scope.user}")

    def ask(query: str, value: object, one: Scope) -> Answer:
        return cache.get_or_compute(
            sessions, namespace="results", query=query, compute=lambda: value, scope=one
        )

    asked, reworded = NEAR[0]
    ask(asked, Computed("a secret of the user", cites=[cited.id]), scope)
    found = ask(reworded, "-", scope)
    cache.feedback(sessions, found.entry, wrong=False)
    cache.flush(sessions)
    ask("of the friend", Computed("rests on it, too", cites=[cited.id]), friend)
    ask("of the friend alone", "stays", friend)

    manifest = export_user(owner, scope.user, tmp_path / "export")
    files = sorted(path.name for path in (tmp_path / "export").rglob("*.parquet"))
    assert manifest
    for table in ("cache_entries", "cache_embeddings", "cache_sources", "cache_uses"):
        assert any(table in name for name in files), files
    (entries,) = (tmp_path / "export").rglob("*cache_entries*.parquet")
    assert pq.read_table(entries)["value"].to_pylist() == ['"a secret of the user"']

    with owner.begin() as conn:
        erased = erase_rows(conn, scope.user, erased_by="tests")
    assert erased.counts["agent.cache_entries"] == 1
    assert erased.counts["agent.cache_pairs"] == 1
    with owner.connect() as conn:
        for table in ("entries", "embeddings", "sources", "uses", "leases", "pairs"):
            left = sa.text(f"select count(*) from agent.cache_{table} where user_id = :u")
            assert conn.execute(left, {"u": scope.user}).scalar_one() == 0, table
        listed = sa.text("select query from agent.cache_entries where user_id = :u")
        theirs = conn.execute(listed, {"u": friend.user}).scalars().all()
    assert theirs == ["of the friend alone"]
