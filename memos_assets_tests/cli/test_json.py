"""`--json -`: JSON alone on standard output, for every command that reports; errors, too."""

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.cli import json_output, stored_help
from memos_assets.cli.main import assemble
from memos_assets_tests.cli.conftest import Command
from memos_assets_tests.defs.world import write_templates

#: Commands whose output is a value, a file or an action alone; they have no outcome to report.
WITHOUT = frozenset(
    {
        *("explain", "demo", "down", "url", "ui", "serve", "mcp", "restore-source", "forget"),
        *("cache evict", "cache import", "memory models register", "memory models re-embed"),
        *("memory models swap", "memory models drop", "rejects export", "rejects decide"),
        *("rejects accept", "rejects withdraw", "snapshots tour", "snapshots label"),
        *("user export", "tokens create", "tokens revoke"),
    }
)


def test_every_command_that_reports_writes_json() -> None:
    without = {
        " ".join(path)
        for path, command, _ in stored_help.walked(assemble(None))
        if not hasattr(command, "commands")
        and not any("--json" in param.opts for param in command.params)
    }
    assert without == WITHOUT


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["plan", "--json", "-"], True),
        (["plan", "--json=-"], True),
        (["plan", "--json", "out.json"], False),
        (["search", "-", "--json"], False),
    ],
)
def test_json_on_standard_output_is_known_from_the_arguments(
    arguments: list[str], *, wanted: bool
) -> None:
    assert json_output.is_wanted_of(arguments) is wanted


def test_json_stands_alone_and_lines_for_people_are_on_standard_error(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    assert database
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1, 2])
    place = ("--data", str(data))
    for arguments in (
        ("plan", *place),
        ("consolidate", *place),
        ("consolidate", *place),
        ("verify",),
        ("status",),
        ("versions",),
        ("rejects", "list"),
        ("report",),
        ("archive",),
        ("retire", "--dry-run", *place),
        ("purge-archive", "--dry-run"),
        ("maintain", "--dry-run"),
        ("migrate", "--dry-run"),
        ("cache", "stats"),
        ("up",),
        ("settings",),
        ("search", "robot"),
        ("acknowledge",),
        ("board", "list"),
    ):
        code, out, err = memos_assets(*arguments, "--json", "-")
        assert code in (0, 1), (arguments, err)
        json.loads(out)
    # The next command writes to standard output again.
    assert memos_assets("versions")[1].startswith("Versions")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("plan", "--data", "/nowhere"), "M521"),
        (("plan", "--nope"), "M500"),
        (("explain", "M000", "--json=-"), "M500"),
        (("rejects", "list", "--table", "none"), "M540"),
    ],
)
@pytest.mark.usefixtures("database")
def test_an_error_is_json_too(memos_assets: Command, arguments: tuple[str, ...], code: str) -> None:
    memos_assets("migrate")
    exit_code, out, err = memos_assets(*arguments, "--json", "-")
    assert exit_code == 2
    error = json.loads(out)["error"]
    assert error["code"] == code
    assert set(error) == {"code", "object", "what", "fix"}
    assert all(error.values())
    assert err.startswith(code)


def test_every_refusal_of_a_folder_is_said_at_once(
    memos_assets: Command, database: sa.Engine, tmp_path: Path
) -> None:
    assert database
    data = tmp_path / "data"
    write_templates(data / "meta_buffer.db", [1])
    for name in ("a.db", "b.db"):
        (data / name).write_bytes(b"not a database, though it is called one")
    code, out, err = memos_assets("consolidate", "--data", str(data), "--json", "-")
    assert code == 2
    assert [Path(one["object"]).name for one in json.loads(out)["errors"]] == ["a.db", "b.db"]
    assert err.count("M103 ") == 2

    code, out, _ = memos_assets("plan", "--data", str(data), "--exclude", "[ab].db")
    assert code == 0
    code, out, _ = memos_assets("plan", "--data", str(data), "--include", "meta_*")
    assert (code, "a.db" in out) == (0, False)
    code, out, _ = memos_assets("plan", "--data", str(data), "--skip-unreadable")
    assert (code, out.count("skipped: ")) == (0, 2)
    code, _, err = memos_assets("plan", "--data", str(data), "--include", "*.none")
    assert (code, err.split()[0]) == (2, "M523")
    assert memos_assets("consolidate", "--data", str(data), "--skip-unreadable")[0] == 0
    with database.connect() as conn:
        count = "select count(*) from memos.thought_templates"
        assert conn.exec_driver_sql(count).scalar_one() == 1
