"""Commands that read leave a database as it is, whatever database the URL names."""

import pkgutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import typer

from memos_assets.cli.commands import COMMANDS
from memos_assets.postgres import target
from memos_assets.postgres.engine import libpq_url
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.conftest import copied_database

#: Commands that prepare a database for what they write. All others are tried below.
WRITE = frozenset({"consolidate", "migrate", "observe", "ui", "serve", "mcp"})
#: Commands that need no database.
_OF_A_STORE = ("list", "show", "verify", "diff", "restore", "prune")
WITHOUT = frozenset(
    {
        *("plan", "report", "demo", "explain", "down", "url", "check-sessions", "settings"),
        *(f"snapshots {name}" for name in _OF_A_STORE),
    }
)
#: Commands that need none while the archive is empty.
OF_AN_ARCHIVE = frozenset({"restore-source", "archive", "purge-archive"})
#: Commands that say what is there; all others refuse.
SAY = frozenset({"up", "status"})
_BOARD = "445840b6-ea17-4f06-9df7-1a0696675aaf"
#: Arguments of commands that need some.
ARGUMENTS = {
    "demo": ("{folder}/demo", "--factor", "0.001"),
    "explain": ("M342",),
    "forget": ("a_source",),
    "search": ("robot",),
    "impact": ("--rows", "10"),
    "plan": ("--data", "{data}"),
    "retire": ("--yes", "--data", "{data}"),
    "rollback": ("--yes",),
    "purge-archive": ("--yes",),
    "rejects show": ("a_source", "embeddings", "1"),
    "rejects export": ("{folder}/rejects.jsonl",),
    "rejects decide": ("--table", "embeddings", "--reason", "wrong_length", "--rule", "skip"),
    "rejects accept": (*("--table", "embeddings", "--reason", "wrong_length", "--count", "1"),),
    "acknowledge": ("a_source", "a_table", "--reason", "why"),
    "rejects withdraw": ("--table", "embeddings", "--reason", "wrong_length"),
    "memory seed": ("--user", "u1"),
    "memory stats": ("--user", "u1"),
    "user export": ("u1", "--to", "{folder}/exported"),
    "user erase": ("u1",),
    "check-sessions": ("{data}",),
    "cache evict": ("--user", "u1"),
    "cache import": ("{data}/none.db",),
    "snapshots show": ("abcdef",),
    "snapshots verify": ("abcdef",),
    "snapshots diff": ("abcdef", "fedcba"),
    "snapshots restore": ("abcdef",),
    "snapshots label": ("abcdef", "kept"),
    "ask": ("What does SRVO-062 mean?",),
    "board show": (_BOARD,),
    "board replay": (_BOARD,),
    "tokens create": ("--user", "u1"),
    "tokens revoke": ("1",),
}
#: Without them a command says that they are missing, before it looks at a database.
SETTINGS = {"MEMOS_EMBEDDER": "deterministic", "MEMOS_ENCRYPTION_KEY": "a passphrase"}
#: Options of commands that are tried beside the plain command.
ALSO = {
    "maintain": ("--dry-run",),
    "retire": ("--dry-run", "--data", "{data}"),
    "versions": ("--prune",),
    "rollback": ("--dry-run",),
    "search": ("--like", "1", "--table", "corpus_documents"),
}


def _commands() -> Iterator[tuple[str, ...]]:
    """Yield every command that does not prepare a database, and those of groups."""
    for name, place in COMMANDS.items():
        if name in WRITE:
            continue
        command = pkgutil.resolve_name(f"memos_assets.cli.{place}")
        if isinstance(command, typer.Typer):
            yield from ((name, str(one.name)) for one in command.registered_commands)
        else:
            yield (name,)


@pytest.fixture(scope="module")
def foreign(server: EmbeddedServer) -> Iterator[sa.URL]:
    """A database with a table of others, as a typing error in the URL would name."""
    with copied_database(server, "template0") as url:
        with psycopg.connect(libpq_url(url)) as conn:
            conn.execute("create table public.theirs as select 1 as n")
        yield url


@pytest.fixture(scope="module")
def former(server: EmbeddedServer, memos_template: str) -> Iterator[sa.URL]:
    """A database of a former checkout: its schema is older, and memOS's tables are there."""
    with copied_database(server, memos_template) as url:
        yield url


@pytest.mark.parametrize("command", list(_commands()), ids=" ".join)
def test_a_command_that_reads_changes_nothing(
    memos_assets: Command,
    home: Path,
    foreign: sa.URL,
    former: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    data = home.parent / "data"
    data.mkdir()
    for variable, value in SETTINGS.items():
        monkeypatch.setenv(variable, value)
    name = " ".join(command)
    for url, code in ((foreign, "M342"), (former, "M343"))[: 1 if name in WITHOUT else 2]:
        monkeypatch.setattr(target, "_ready", set())
        monkeypatch.setenv("MEMOS_DATABASE_URL", libpq_url(url))
        before = everything(url)
        for arguments in filter(None, (ARGUMENTS.get(name, ()) or ("",), ALSO.get(name))):
            given = [one.format(folder=home.parent, data=data) for one in arguments if one]
            exit_code, out, err = memos_assets(*command, *given)
            assert everything(url) == before, given
            assert not (home / "backups").exists()
            if name in WITHOUT | OF_AN_ARCHIVE:
                continue
            if name in SAY:
                assert exit_code == 0
                assert "memos-assets migrate" in out
            else:
                assert (exit_code, err.partition(" ")[0]) == (2, code), (out, err)
                assert err.count("\n") == 1
                assert "Fix: " in err


def everything(url: sa.URL) -> list[tuple[str]]:
    """Return schemas, relations, functions, extensions and the revision, with who wrote each."""
    with psycopg.connect(libpq_url(url)) as conn:
        found = conn.execute(
            "select 'schema ' || nspname || xmin::text from pg_namespace union all "
            "select 'relation ' || oid::text || relname || xmin::text from pg_class union all "
            "select 'function ' || oid::text || xmin::text from pg_proc union all "
            "select 'extension ' || extname from pg_extension order by 1"
        ).fetchall()
        if conn.execute("select to_regclass('memos_ops.alembic_version')").fetchone() != (None,):
            found += conn.execute("select version_num from memos_ops.alembic_version").fetchall()
    return found
