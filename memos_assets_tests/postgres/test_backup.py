"""Before the first write into a database with tables of others, all of it is dumped; restorable."""

import fcntl
import hashlib
import logging
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql
from pydantic import SecretStr

from memos_assets.errors import TargetError
from memos_assets.postgres import backup, target
from memos_assets.postgres.backup import back_up_foreign
from memos_assets.postgres.dagster_storage import MemosStorage
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.postgres.server import cluster
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import prepare_target
from memos_assets.settings import Settings

#: Tables of somebody, and what a dump could lose of them.
THEIRS = (
    "create extension vector",
    "create type public.kind as enum ('fact', 'it''s odd')",
    (
        "create table public.recollections (id bigint generated always as identity primary key, "
        "content text not null, embedding vector(1024), metadata json, kind public.kind, "
        "raw bytea, at timestamptz, tags text[])"
    ),
    (
        "insert into public.recollections (content, embedding, metadata, kind, raw, at, tags) "
        "select e'tab\\t nl\\n \\\\N ü ' || n, array_fill(n / 3::real, array[1024])::vector, "
        "'{\"b\": 1,  \"b\": 2}', 'it''s odd', '\\x00ff', 'infinity', array[null, '', 'NULL'] "
        "from generate_series(1, 20) n"
    ),
    'create schema "odd ""schema"""',
    'create table "odd ""schema"""."odd table" ("odd ""column" double precision)',
    'insert into "odd ""schema"""."odd table" values (\'NaN\'), (0.1::float8 + 0.2), (null)',
)


@pytest.fixture(autouse=True)
def _nothing_is_known_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "_ready", set())


@pytest.fixture
def administrator(server: EmbeddedServer) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as conn:
        yield conn


@pytest.fixture
def foreign(server: EmbeddedServer, administrator: psycopg.Connection) -> Iterator[sa.URL]:
    """A database of somebody else, with a name that is none for a file."""
    name = "their/own database"
    place = sql.Identifier(name)
    administrator.execute(sql.SQL("create database {} template template0").format(place))
    with psycopg.connect(libpq_url(server.url(name)), autocommit=True) as conn:
        for statement in THEIRS:
            conn.execute(statement)
    yield server.url(name)
    administrator.execute(sql.SQL("drop database {} with (force)").format(place))


def settings_for(url: sa.URL, home: Path, **changes: object) -> Settings:
    base = Settings(home=home, database_url=SecretStr(libpq_url(url, password=True)))
    return base.model_copy(update=changes)


def dumps(home: Path) -> list[Path]:
    return sorted((home / "backups").glob("*.dump"))


def schemas(url: sa.URL) -> set[str]:
    with psycopg.connect(libpq_url(url)) as conn:
        found = conn.execute("select nspname from pg_namespace where nspname !~ '^pg_'")
        return {name for (name,) in found}


def content(url: sa.URL) -> dict[str, list[tuple[str]]]:
    with psycopg.connect(libpq_url(url)) as conn:
        return {
            name: conn.execute(
                sql.SQL("select t::text from {} t order by 1").format(sql.SQL(name))
            ).fetchall()
            for name in ("public.recollections", '"odd ""schema"""."odd table"')
        }


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_database_with_tables_of_others_is_dumped_and_comes_back_row_by_row(
    foreign: sa.URL,
    server: EmbeddedServer,
    administrator: psycopg.Connection,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    before = content(foreign)
    prepare_target(settings_for(foreign, tmp_path), "tests")
    (dump,) = dumps(tmp_path)
    assert dump.name.startswith("their_own_database-2")
    assert stat.S_IMODE(dump.stat().st_mode) == 0o600
    assert stat.S_IMODE(dump.parent.stat().st_mode) == 0o700
    digest = hashlib.sha256(dump.read_bytes()).hexdigest()
    assert dump.with_name(f"{dump.name}.sha256").read_text() == f"{digest}  {dump.name}\n"
    assert len(list(dump.parent.iterdir())) == 3
    assert [r.getMessage() for r in caplog.records if r.name == backup.__name__] == [
        (
            f"Backup of their/own database before the first write (it holds odd "
            f'"schema".odd table, public.recollections): {dump}'
        )
    ]

    administrator.execute("create database restored template template0")
    try:
        restore = [str(cluster.programs() / "bin" / "pg_restore"), "--exit-on-error"]
        copy = server.url("restored")
        subprocess.run([*restore, f"--dbname={libpq_url(copy)}", str(dump)], check=True)
        assert content(copy) == before == content(foreign)
        # It was made before anything of ours was there.
        assert schemas(copy) == {"public", 'odd "schema"', "information_schema"}
        assert {"memos", "memos_ops"} <= schemas(foreign)
        with psycopg.connect(libpq_url(copy)) as conn:
            kinds = conn.execute("select enum_range(null::public.kind)::text").fetchall()
        assert kinds == [('{fact,"it\'s odd"}',)]
    finally:
        administrator.execute("drop database restored with (force)")


def test_the_second_write_is_not_preceded_by_a_backup_and_dagsters_first_write_is(
    foreign: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(foreign, tmp_path)
    MemosStorage(settings)
    assert len(dumps(tmp_path)) == 1
    assert "memos_ops" not in schemas(foreign)
    monkeypatch.setattr(target, "_ready", set())
    prepare_target(settings, "tests")
    assert len(dumps(tmp_path)) == 1


def test_a_database_that_is_ours_or_empty_needs_no_backup(
    server: EmbeddedServer, database_url: sa.URL, administrator: psycopg.Connection, tmp_path: Path
) -> None:
    assert back_up_foreign(database_url, settings_for(database_url, tmp_path)) is None
    administrator.execute("create database nobodys template template0")
    try:
        url = server.url("nobodys")
        assert back_up_foreign(url, settings_for(url, tmp_path)) is None
    finally:
        administrator.execute("drop database nobodys with (force)")
    assert not (tmp_path / "backups").exists()


def test_a_backup_can_be_declined(foreign: sa.URL, tmp_path: Path) -> None:
    assert back_up_foreign(foreign, settings_for(foreign, tmp_path, backup="skip")) is None
    assert not (tmp_path / "backups").exists()


def test_what_may_not_be_read_stops_the_first_write(
    foreign: sa.URL, tmp_path: Path, administrator: psycopg.Connection
) -> None:
    administrator.execute("create role stranger login superuser password 's3kret'")
    administrator.execute("alter role stranger nosuperuser")
    administrator.execute('grant create on database "their/own database" to stranger')
    try:
        url = foreign.set(username="stranger", password="s3kret")
        with pytest.raises(
            TargetError,
            match=r"^M340 .*permission denied for table recollections.*MEMOS_BACKUP=skip",
        ) as raised:
            prepare_target(settings_for(url, tmp_path), "tests")
        assert "s3kret" not in str(raised.value)
    finally:
        administrator.execute('revoke create on database "their/own database" from stranger')
        administrator.execute("drop role stranger")
    assert not schemas(foreign) & {"memos", "memos_ops", "dagster"}
    assert list((tmp_path / "backups").iterdir()) == []


def test_a_server_newer_than_pg_dump_has_to_be_backed_up_with_its_own(
    foreign: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    (programs / "bin").mkdir(parents=True)
    stand_in = programs / "bin" / "pg_dump"
    stand_in.write_text(
        "#!/bin/sh\necho 'pg_dump: error: aborting because of server version mismatch' >&2\n"
        "echo 'pg_dump: detail: server version: 19.1; pg_dump version: 18.4' >&2\nexit 1\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(backup, "programs", lambda: programs)
    with pytest.raises(TargetError, match=r"^M340 .*version mismatch. Fix: .*with its own pg_dump"):
        back_up_foreign(foreign, settings_for(foreign, tmp_path))


def test_a_folder_that_takes_no_file_stops_the_first_write(foreign: sa.URL, tmp_path: Path) -> None:
    (tmp_path / "backups").write_text("in the way")
    with pytest.raises(TargetError, match=r"^M341 .*cannot be written \(File exists\)"):
        prepare_target(settings_for(foreign, tmp_path), "tests")
    assert not schemas(foreign) & {"memos", "memos_ops", "dagster"}


def test_the_password_goes_through_the_environment_and_never_the_arguments(
    foreign: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    (programs / "bin").mkdir(parents=True)
    stand_in = programs / "bin" / "pg_dump"
    stand_in.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\necho "$PGPASSWORD" > '
        f"{tmp_path}/password\nexit 3\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setattr(backup, "programs", lambda: programs)
    url = foreign.set(password="s3kr t'")
    with pytest.raises(TargetError, match=r"^M340 .*exit code 3"):
        back_up_foreign(url, settings_for(url, tmp_path))
    assert "s3kr" not in (tmp_path / "arguments").read_text()
    assert (tmp_path / "password").read_text() == "s3kr t'\n"


def test_a_dump_is_used_again_while_the_database_holds_the_same(
    foreign: sa.URL, tmp_path: Path
) -> None:
    settings = settings_for(foreign, tmp_path)
    first = back_up_foreign(foreign, settings)
    assert first is not None
    assert back_up_foreign(foreign, settings) == first
    assert dumps(tmp_path) == [first]
    changes = (
        "update public.recollections set content = content where id = 1",
        "delete from public.recollections where id = 2",
        "create function public.f() returns int language sql as 'select 1'",
        "select nextval('public.recollections_id_seq')",
    )
    for number, change in enumerate(changes, start=2):
        with psycopg.connect(libpq_url(foreign)) as conn:
            conn.execute(change)
        back_up_foreign(foreign, settings)
        assert len(dumps(tmp_path)) == number, change
    old = dumps(tmp_path)[-1]
    os.utime(old, (0, 0))
    assert back_up_foreign(foreign, settings) != old
    engine = create_engine(foreign, settings, application_name="tests", pooled=False)
    with engine.connect() as conn:
        locks = "select count(*) from pg_locks where locktype = 'advisory'"
        assert conn.exec_driver_sql(locks).scalar_one() == 0


def test_what_a_killed_backup_left_behind_is_removed_and_said(
    foreign: sa.URL, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "backups").mkdir(mode=0o755)
    left, written = (tmp_path / "backups" / f"{name}.part" for name in ("left", "written"))
    left.touch()
    with written.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        back_up_foreign(foreign, settings_for(foreign, tmp_path))
    assert (left.exists(), written.exists()) == (False, True)
    assert f"Removed {left}" in caplog.text
    assert stat.S_IMODE(left.parent.stat().st_mode) == 0o700
