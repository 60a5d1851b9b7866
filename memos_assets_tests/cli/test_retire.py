"""Retirement at a terminal: messages, moved files, and exit codes."""

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets_tests.cli.conftest import Command, answers, bytes_of


@pytest.fixture
def data(database: sa.Engine, tmp_path: Path, samples: Path) -> Path:
    """Copy two sources, one with rejects, a test file and a cache."""
    assert database
    folder = tmp_path / "memOS"
    (folder / "cache").mkdir(parents=True)
    for name in ("meta_buffer.db", "hsea_hybrid.db", "cache/content_cache.db"):
        shutil.copy(samples / name, folder / name)
    shutil.copy(samples / "meta_buffer.db", folder / "test_buffer.db")
    for path in folder.rglob("*.db"):
        path.chmod(0o644)
    return folder


def test_files_are_retired_listed_restored_and_purged(
    memos_assets: Command, home: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ("--data", str(data))
    before = bytes_of(data)
    assert memos_assets("consolidate", *place)[0] == 0

    code, out, err = memos_assets("retire", "--dry-run", *place)
    assert (code, err) == (1, "")
    said = {line.split()[0]: line for line in out.splitlines() if line.split()}
    assert "yes" in said["meta_buffer"].split()
    assert "1 of its rows are open in the rejects: nul_character 1" in said["hsea_hybrid"]
    assert "test or legacy file" in said["test_buffer"]
    assert said["content_cache"].split()[2:] == ["stays", "a", "cache"]
    assert "Nothing was moved." in out
    assert bytes_of(data) == before
    assert not (home / "archive").exists()

    code, out, err = memos_assets("retire", *place)
    assert (code, out, err.split()[0], err.count("\n")) == (2, "", "M508", 1)
    answers(monkeypatch, "n")
    code, out, _ = memos_assets("retire", *place)
    assert (code, out.endswith("Nothing was moved. --yes does not ask.\n")) == (1, True)
    code, written, err = memos_assets("retire", "--dry-run", "--json", "-", *place)
    assert {one["name"] for one in json.loads(written)["candidates"]} >= {"meta_buffer"}
    assert "Nothing was moved." in err
    assert bytes_of(data) == before
    code, out, err = memos_assets("retire", "--yes", *place)
    assert (code, err) == (1, "")
    assert "Retired 2 files, 442.4 kB" in out
    assert set(bytes_of(data)) == {"hsea_hybrid.db", "cache/content_cache.db"}
    code, out, _ = memos_assets("archive")
    assert code == 0
    assert "meta_buffer-3e2e1e3051cc" in out

    code, out, _ = memos_assets("retire", "hsea_hybrid", "--yes", "--accept-open-rejects", *place)
    assert code == 0
    # Only a cache is left; what is retired is loaded again from its pins.
    code, out, _ = memos_assets("consolidate", "-v", "--reload", *place)
    assert code == 0
    assert "V13 ok" in out
    assert "loaded memos.thought_templates: 14 rows" in out

    assert memos_assets("restore-source", "hsea_hybrid")[0] == 0
    assert memos_assets("restore-source", "meta_buffer")[1].startswith("meta_buffer is at ")
    code, out, err = memos_assets("restore-source", "meta_buffer")
    assert (code, err) == (0, "")
    assert out.startswith(f"Note: meta_buffer is at {data / 'meta_buffer.db'}, and is not retired.")
    assert out.count("\n") == 1
    code, _, err = memos_assets("restore-source", "nobody")
    assert code == 2
    assert err.startswith("M550 nobody: no retired file of this name; there are: test_buffer")

    code, out, _ = memos_assets("purge-archive", "--yes")
    assert (code, out.endswith("Nothing was deleted.\n")) == (0, True)
    assert memos_assets("purge-archive", "test_buffer", "--yes")[0] == 1
    (manifest,) = (home / "archive").glob("*/manifest.json")
    written = manifest.read_text()
    content = json.loads(written)
    content["retired_at"] = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    manifest.write_text(json.dumps(content))
    code, _, err = memos_assets("purge-archive", "--yes")
    assert (code, err.split()[0], err.count("\n")) == (1, "M373", 1)
    assert (manifest.parent / "test_buffer.db").exists()
    manifest.write_text(written)
    monkeypatch.setenv("MEMOS_ARCHIVE_GRACE_DAYS", "0")
    code, out, _ = memos_assets("purge-archive", "--dry-run")
    assert (code, "test_buffer (221.2 kB) may be deleted" in out) == (0, True)
    assert (manifest.parent / "test_buffer.db").exists()
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert memos_assets("purge-archive")[0] == 2
    answers(monkeypatch, "")
    assert memos_assets("purge-archive")[0] == 1
    assert (manifest.parent / "test_buffer.db").exists()
    code, out, _ = memos_assets("purge-archive", "--yes")
    assert code == 0
    assert not (manifest.parent / "test_buffer.db").exists()
    assert json.loads(manifest.read_text())["state"] == "purged"
    code, out, err = memos_assets("purge-archive", "test_buffer", "--yes")
    assert (code, err) == (0, "")
    assert out.startswith("test_buffer was purged at 20")
    assert "purged" in memos_assets("archive")[1]
    del before["test_buffer.db"]
    assert bytes_of(data) == before


def test_a_source_is_forgotten_with_its_rows_and_its_chunks(
    memos_assets: Command, database: sa.Engine, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memos_assets("consolidate", "--data", str(data))[0] == 0
    code, _, err = memos_assets("forget", "meta_buffer")
    assert code == 2
    assert err.startswith("M554 meta_buffer: 14 rows of it are loaded")
    code, out, err = memos_assets("forget", "meta_buffer", "--with-rows")
    assert (code, out, err.split()[0], err.count("\n")) == (2, "", "M508", 1)
    code, out, _ = memos_assets("forget", "meta_buffer", "--with-rows", "--dry-run")
    assert (code, out.startswith("Would delete 14 rows of meta_buffer from ")) == (0, True)
    answers(monkeypatch, "n")
    code, out, _ = memos_assets("forget", "meta_buffer", "--with-rows")
    assert (code, out.endswith("Nothing was deleted. --yes does not ask.\n")) == (1, True)
    code, out, _ = memos_assets("forget", "meta_buffer", "--with-rows", "--yes")
    assert (code, out) == (0, "meta_buffer is forgotten; 14 rows were deleted.\n")
    with database.connect() as conn:
        left = "select count(*) from memos.thought_templates"
        assert conn.exec_driver_sql(left).scalar_one() == 0
        keys = "select partition from dagster.dynamic_partitions where partition like 'meta%%'"
        assert conn.exec_driver_sql(keys).all() == []
    assert (data / "meta_buffer.db").exists()
    assert memos_assets("verify")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["retire"], "M520 --data: ", id="no folder"),
        pytest.param(
            ["retire", "nobody", "--yes", "--data", "{data}"], "M553 nobody: ", id="no such name"
        ),
        pytest.param(["restore-source", "nobody"], "M550 nobody: ", id="nothing retired"),
        pytest.param(["purge-archive", "nobody"], "M550 nobody: ", id="nothing to purge"),
        pytest.param(["forget", "nobody"], "M526 nobody: ", id="nothing to forget"),
    ],
)
def test_wrong_use_is_one_line_with_a_fix(
    memos_assets: Command, data: Path, arguments: list[str], message: str
) -> None:
    code, _, err = memos_assets(*(one.format(data=data) for one in arguments))
    assert code == 2
    assert err.startswith(message)
    assert ". Fix: " in err
    assert err.count("\n") == 1
