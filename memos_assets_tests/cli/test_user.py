"""Export and erasure of one user at the terminal, beside another one who keeps everything."""

import hashlib
import json
import subprocess
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from memos_assets.errors import SnapshotError
from memos_assets.memory.acting import act_as
from memos_assets.memory.erase import erase_rows
from memos_assets.memory.graph_checks import nothing_dangles
from memos_assets.memory.models import register
from memos_assets.memory.sealed_sample import unseal
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.memory.stored_content import blocks_of
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.cluster import programs
from memos_assets.postgres.user_rows import ERASED_MEMORY
from memos_assets.runs.instance import open_instance
from memos_assets.settings import load_settings
from memos_assets.snapshots import marks
from memos_assets.snapshots.rewrite import erased_users, find_erased, find_user
from memos_assets.snapshots.store import open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.memory.walled import act, add_memory, add_space

BOB, ANN = "bob-4711@example.org", "ann-0815@example.org"
SAID = 'Bob said \\"so\\"\tat Čapek\'s: canary {}'
SUMMARY = "what memOS summarises of Bob"

COUNTED = (
    *("spaces", "grants", "memories", "revisions", "postings", "word_counts", "links"),
    *("provenance", "accesses", "outbox", "proposals", "embeddings_1"),
)


@pytest.fixture
def shared(database: sa.Engine) -> sa.Engine:
    """Write rows of Bob's and Ann's into private spaces, and into one that Bob shares with her."""
    with Session(database) as session, session.begin():
        register(session.connection(), "tiny", 3, "digest", "current")
        for user in (BOB, ANN):
            act(session, user)
            space = add_space(session, user, f"private:{user}")
            _fill(session, user, [space] * 3)
        act(session, BOB)
        team = add_space(session, BOB, "team", **{ANN: "read_write"})
        first = add_memory(session, team, BOB, SAID.format("in the team"))
        derived = add_memory(session, team, ANN, "Ann concludes something of her own")
        old = add_memory(session, team, ANN, "Ann was believed before")
        provenance = "insert into agent.provenance values (:d, :f, :s)"
        execute(session, provenance, d=derived, f=first, s=team)
        execute(
            session,
            "update agent.memories set valid_until = now(), superseded_by = "
            "(select id from agent.memories where number = :f) where number = :o",
            f=first,
            o=old,
        )
        execute(
            session,
            "insert into agent.embeddings_1 values (:d, 0, :s, null, '[1,2,3]')",
            d=derived,
            s=team,
        )
        execute(
            session,
            "insert into agent.word_counts (space_id, memories, words) values (:s, 3, 3)",
            s=team,
        )
        execute(session, "create schema dagster")
        execute(session, "create table dagster.event_logs (id bigint, event text)")
        logged = json.dumps({"message": SAID.format(0)})
        execute(session, "insert into dagster.event_logs values (1, :logged)", logged=logged)
    return database


def execute(session: Session, statement: str, **values: object) -> None:
    session.execute(sa.text(statement), values)


def _fill(session: Session, user: str, spaces: list[int]) -> None:
    said = SAID if user == BOB else "Ann says {}"
    numbers = [add_memory(session, space, user, said.format(n)) for n, space in enumerate(spaces)]
    first, second, _ = numbers
    for statement in (
        (
            "insert into agent.revisions (memory, space_id, action, retracted, user_id) "
            "values (:a, :s, 'remember', false, :u)"
        ),
        "insert into agent.postings values (:s, 'canary', :a, 1, 3)",
        "insert into agent.word_counts (space_id, memories, words) values (:s, 3, 3)",
        "insert into agent.links values (:a, :b, 'semantic', 0, 0.9, true, :s, :s)",
        "insert into agent.provenance values (:b, :a, :s)",
        "insert into agent.accesses values (:a, :s, 1, now())",
        "insert into agent.outbox (memory, space_id) values (:a, :s)",
        (
            "insert into agent.proposals (action, memory, other, space_id, score) "
            "values ('merge', :a, :b, :s, 0.9)"
        ),
        "insert into agent.embeddings_1 values (:a, 0, :s, null, '[1,0.5,-3]')",
        (
            "insert into public.memories "
            "(id, user_id, content_hash, encrypted_content, memory_type, "
            "privacy_level, created_at, consent_given, content_summary, tags) values "
            "(gen_random_uuid(), :u, 'hash', '\\x00ff', 't', 'p', now(), true, :m, '[\"a\"]')"
        ),
        (
            "insert into public.user_quests (id, user_id, state, started_at) "
            "values (gen_random_uuid(), :u, 'active', now())"
        ),
        "insert into public.user_quest_stats (user_id, total_points) values (:u, 7)",
    ):
        execute(
            session,
            statement,
            a=first,
            b=second,
            s=spaces[0],
            u=user,
            m=SUMMARY if user == BOB else "of Ann",
        )


def counts(engine: sa.Engine, user: str) -> dict[str, int]:
    """Count rows of a user in each table, through the memories and spaces that they belong to."""
    with engine.connect() as conn:
        memory = "select number from agent.memories where user_id = :u"
        space = "select id from agent.spaces where owner = :u and private"
        conditions = {
            "spaces": "owner = :u",
            "grants": "user_id = :u",
            "memories": "user_id = :u",
            "links": f"a in ({memory})",
            "word_counts": f"space_id in ({space})",
        }
        found = {
            table: f"agent.{table} where {conditions.get(table, f'memory in ({memory})')}"
            for table in COUNTED
        } | {
            table: f"public.{table} where user_id = :u"
            for table in ("memories ", "user_quests", "user_quest_stats")
        }
        return {
            table: conn.execute(sa.text(f"select count(*) from {rest}"), {"u": user}).scalar_one()
            for table, rest in found.items()
        }


@pytest.mark.usefixtures("shared")
def test_an_export_has_every_row_twice_and_its_digests(
    memos_assets: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "bob"
    code, out, err = memos_assets("user", "export", BOB, "--to", str(folder))
    assert (code, err) == (0, "")
    assert "encrypted" in out
    manifest = json.loads((folder / "manifest.json").read_text())
    tables = manifest["tables"]
    assert {table: entry["rows"] for table, entry in tables.items()} == {
        "agent.accesses": 1,
        "agent.embeddings_1": 1,
        "agent.grants": 2,
        "agent.links": 1,
        "agent.memories": 4,
        "agent.outbox": 1,
        "agent.proposals": 1,
        "agent.provenance": 2,
        "agent.revisions": 1,
        "agent.spaces": 2,
        "public.memories": 1,
        "public.user_quest_stats": 1,
        "public.user_quests": 1,
    }
    for entry in tables.values():
        for kind in ("jsonl", "parquet"):
            content = (folder / entry[kind]["file"]).read_bytes()
            assert hashlib.sha256(content).hexdigest() == entry[kind]["sha256"]
        lines = (folder / entry["jsonl"]["file"]).read_text().splitlines()
        rows = pq.read_table(folder / entry["parquet"]["file"]).to_pylist()
        assert len(lines) == len(rows) == entry["rows"]
        assert list(json.loads(lines[0])) == list(rows[0]) == list(entry["columns"])
    embedding = pq.read_table(folder / "agent.embeddings_1.parquet").to_pylist()[0]["embedding"]
    assert embedding == [1.0, 0.5, -3.0]
    memory = pq.read_table(folder / "public.memories.parquet").to_pylist()[0]
    assert (memory["encrypted_content"], memory["tags"]) == (b"\x00\xff", '["a"]')
    lines = (folder / "agent.memories.jsonl").read_text().splitlines()
    said = [json.loads(line)["content"] for line in lines]
    assert sorted(said) == sorted(SAID.format(n) for n in (0, 1, 2, "in the team"))
    assert (folder.stat().st_mode & 0o777, len(list(folder.glob("*.part")))) == (0o700, 0)

    code, _, err = memos_assets("user", "export", BOB, "--to", str(folder))
    assert (code, err[:4]) == (2, "M772")
    code, _, err = memos_assets("user", "export", BOB.upper())
    assert (code, err[:4]) == (2, "M771")


def test_an_erasure_leaves_nothing_of_the_user_and_all_of_the_others(
    memos_assets: Command, shared: sa.Engine, home: Path, tmp_path: Path
) -> None:
    of_ann, of_bob = counts(shared, ANN), counts(shared, BOB)
    assert min(of_bob.values()) > 0
    assert memos_assets("user", "export", BOB)[0] == 0
    log = home / "postgres.log"
    log.write_text(f"STATEMENT: {SAID.format(1)}\nsomething else\n")

    code, out, err = memos_assets("user", "erase", BOB)
    assert (code, err, counts(shared, BOB)) == (0, "", of_bob)
    assert "--yes erases" in out

    outcome = tmp_path / "outcome.json"
    code, out, err = memos_assets("user", "erase", BOB, "--yes", "--json", str(outcome))
    assert (code, err) == (0, "")
    assert "the write-ahead log" in out
    said = json.loads(outcome.read_text())
    assert said["found"] == {}
    assert said["texts_looked_for"] >= 8
    assert said["counts"]["agent.memories"] == 4
    assert said["counts"]["agent.memories of others, retracted"] == 1
    assert said["counts"]["dagster.event_logs"] == 1
    assert said["counts"]["files of ours, overwritten"] == 1
    assert said["counts"]["exports of ours"] == 1
    assert set(counts(shared, BOB).values()) == {0}
    # The space that Bob shared is Ann's now, and what she derived from his is retracted.
    changed = {"spaces": 1, "provenance": -1, "revisions": 1}
    assert counts(shared, ANN) == {
        table: count + changed.get(table, 0) for table, count in of_ann.items()
    }
    assert "canary" not in log.read_text()
    assert log.read_text().endswith("\nsomething else\n")
    assert list((home / "exports").iterdir()) == []
    with shared.connect() as conn:
        team = conn.execute(
            sa.text(
                "select m.content, m.retracted_at is not null, m.superseded_by::text, "
                "m.valid_until is not null, e.closed_at is not null from agent.memories m "
                "join agent.spaces s on s.id = m.space_id "
                "left join agent.embeddings_1 e on e.memory = m.number "
                "where s.name = 'team' order by m.number"
            )
        ).all()
        assert [tuple(row) for row in team] == [
            ("Ann concludes something of her own", True, None, False, True),
            ("Ann was believed before", False, ERASED_MEMORY, True, False),
        ]
        words = sa.text(
            "select sum(memories) from agent.word_counts w "
            "join agent.spaces s on s.id = w.space_id where s.name = 'team'"
        )
        assert conn.execute(words).scalar_one() == 2
        tombstone = conn.execute(sa.text("select * from agent.erasures")).one()
        assert tombstone.user_digest == hashlib.sha256(BOB.encode()).hexdigest()
        assert tombstone.counts == said["counts"]
        everything = "".join(str(row) for row in conn.execute(sa.text("table agent.memories")))
        assert "canary" not in everything
        # What an erased memory ended names none that is there, and that is right.
        assert nothing_dangles(conn, "memories").observed.startswith("every reference is")
    assert memos_assets("user", "erase", BOB, "--yes")[2].startswith("M771")


def test_an_erasure_deletes_the_runs_that_name_the_user_however_short_the_id_is(
    memos_assets: Command, database: sa.Engine
) -> None:
    with open_sync_memory_sessions(load_settings()) as sessions, sessions.begin() as session:
        act_as(session, user="u1")
    config = {"ops": {"memos__agent__seed": {"config": {"user": "u1"}}}}
    with open_instance(load_settings()) as instance:
        instance.add_run(dg.DagsterRun(job_name="seed_memory", run_config=config))
        instance.add_run(dg.DagsterRun(job_name="__ASSET_JOB", run_config=config))
        other = instance.add_run(dg.DagsterRun(job_name="seed_memory"))
        assert memos_assets("user", "erase", "u1", "--yes")[0] == 0
        assert [run.run_id for run in instance.get_runs()] == [other.run_id]
    with database.connect() as conn:
        (counts,) = conn.execute(sa.text("select counts from agent.erasures")).scalars()
    assert counts["runs of Dagster"] == 2


def test_texts_that_are_left_are_named(
    memos_assets: Command, shared: sa.Engine, home: Path
) -> None:
    kept = home / "pins" / "kept.db"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"\0" * (1 << 20) + SUMMARY.encode())
    with Session(shared) as session, session.begin():
        quoting = session.execute(
            sa.text("update agent.memories set content = :said where content = 'Ann says 1'"),
            {"said": f"Ann quotes: {SUMMARY}"},
        )
        assert quoting.rowcount == 1  # type: ignore[attr-defined]
    code, out, err = memos_assets("user", "erase", BOB, "--yes")
    assert (code, err[:4]) == (1, "M773")
    assert "agent.memories: 1 text" in out
    assert f"{kept}: 1 text" in out


def test_kept_snapshots_become_those_of_the_tables_after_the_erasure(
    memos_assets: Command, shared: sa.Engine, home: Path, tmp_path: Path
) -> None:
    store = open_store(str(home / "snapshots"))
    first = write_snapshot(shared, store, label="tuesday").manifest
    with Session(shared) as session, session.begin():
        act(session, ANN)
        add_memory(session, _team(session), ANN, "Ann says more on Wednesday")
    second = write_snapshot(shared, store, partition="2026-11-25").manifest
    old = {entry.file for one in (first, second) for entry in one.tables}
    marks.mark_verified(store, first.id)

    outcome = tmp_path / "outcome.json"
    assert memos_assets("user", "erase", BOB)[1].count("snapshots") == 1
    code, _, err = memos_assets("user", "erase", BOB, "--yes", "--json", str(outcome))
    assert (code, err) == (0, "")
    said = json.loads(outcome.read_text())
    assert said["counts"]["snapshots"] == 2
    became = said["snapshots_rewritten"]
    assert list(became) == [first.id, second.id]

    now = write_snapshot(shared, store)
    assert (now.unchanged, now.bytes) == (True, 0)
    tuesday, wednesday = store.manifests()
    assert [tuesday.id, wednesday.id] == list(became.values())
    assert wednesday.id == now.manifest.id
    assert (tuesday.label, wednesday.partition) == ("tuesday", "2026-11-25")
    assert (tuesday.parent, wednesday.parent) == (None, tuesday.id)
    assert (tuesday.made_at, wednesday.made_at) == (first.made_at, second.made_at)
    assert list(marks.verified(store)) == [tuesday.id]
    for one in (tuesday, wednesday):
        assert verify(store, one).is_whole
    kept = {entry.file for one in (tuesday, wednesday) for entry in one.tables}
    assert set(store.names("tables")) == kept
    assert kept & old, "a table without the user is the file that it was"
    files = [path for path in (home / "snapshots").rglob("*") if path.is_file()]
    texts = b"".join(block for path in files for block in blocks_of(path))
    assert b"Ann says more on Wednesday" in texts
    for secret in (BOB, "canary", SUMMARY):
        assert secret.encode() not in texts
    with pytest.raises(SnapshotError, match=r"M802 .*was rewritten to"):
        store.manifest(first.id)
    with shared.connect() as conn:
        erased = erased_users(conn)
    assert find_erased(store, erased) == []
    assert memos_assets("user", "erase", BOB, "--yes")[2].startswith("M771")


def test_an_erasure_that_was_killed_before_its_search_is_finished_by_the_next_run(
    memos_assets: Command, shared: sa.Engine, home: Path
) -> None:
    assert memos_assets("user", "export", BOB)[0] == 0
    store = open_store(str(home / "snapshots"))
    write_snapshot(shared, store)
    log = home / "postgres.log"
    log.write_text(f"STATEMENT: {SAID.format(1)}\n")
    with shared.begin() as conn:
        erase_rows(conn, BOB, erased_by="somebody")
    with shared.connect() as conn:
        sample = conn.execute(sa.text("select sample from agent.erasures")).scalar_one()
    assert b"canary" not in sample
    assert unseal(ANN, sample) is None
    assert "canary" in log.read_text()

    code, out, _ = memos_assets("user", "erasures")
    assert (code, "open" in out) == (1, True)
    code, out, err = memos_assets("user", "erasures", "--finish")
    assert (code, err, "open" in out) == (0, "", True)
    assert find_user(store, BOB) == {}
    assert "erasure that is not finished" in memos_assets("user", "erase", BOB)[1]
    code, out, err = memos_assets("user", "erase", BOB, "--yes")
    assert (code, err) == (0, "")
    assert "exports of ours" in out
    assert "canary" not in log.read_text()
    with shared.connect() as conn:
        (sample,) = conn.execute(sa.text("select sample from agent.erasures")).scalars()
    assert sample is None
    code, out, _ = memos_assets("user", "erasures")
    assert (code, "finished" in out, "open" in out) == (0, True, False)


def test_rows_that_only_a_snapshot_has_are_erased_there(
    memos_assets: Command, shared: sa.Engine, home: Path
) -> None:
    store = open_store(str(home / "snapshots"))
    write_snapshot(shared, store)
    with shared.begin() as conn:
        erase_rows(conn, BOB, erased_by="somebody")
        conn.execute(sa.text("delete from agent.erasures"))
    assert set(counts(shared, BOB).values()) == {0}
    assert memos_assets("user", "erase", BOB, "--yes")[0] == 0
    assert find_user(store, BOB) == {}


def test_dumps_that_hold_texts_are_named_and_deleted_on_request(
    memos_assets: Command, shared: sa.Engine, home: Path
) -> None:
    folder = home / "backups"
    folder.mkdir(parents=True)
    for name, options in (("all", ()), ("none", ("--schema=memos",))):
        url = libpq_url(shared.url)
        dump = [str(programs() / "bin" / "pg_dump"), "-Fc", f"-f{folder / name}.dump", *options]
        subprocess.run([*dump, url], check=True)
    (folder / "all.dump.sha256").write_text("digest")
    code, out, err = memos_assets("user", "erase", BOB, "--yes")
    assert (code, err[:4], "--delete-backups" in err) == (1, "M773", True)
    assert "all.dump: " in out
    assert "none.dump: " not in out
    code, _, err = memos_assets("user", "erase", BOB, "--yes", "--delete-backups")
    assert (code, err) == (0, "")
    assert [path.name for path in folder.iterdir()] == ["none.dump"]


def _team(session: Session) -> int:
    found = session.execute(sa.text("select id from agent.spaces where name = 'team'"))
    return int(found.scalar_one())
