"""V66: a retired file that somebody still uses is named."""

import sqlite3
from contextlib import closing

import pytest

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive.use_checks import retired_files_are_unused
from memos_assets.finding import Finding
from memos_assets_tests.consolidate.archive.conftest import Archive


def v66(retiring: Archive) -> Finding:
    return retired_files_are_unused(MEMOS, retiring.folder)["meta_buffer"]


@pytest.mark.parametrize("beside", ["", "-wal"])
def test_v66_retired_files_are_unused_fails_when_memos_writes_there_again(
    retiring: Archive, beside: str
) -> None:
    assert v66(retiring).expected.startswith("none of 0 retired files")
    retiring.store()
    found = v66(retiring)
    assert (found.passed, found.observed) == (True, "none")
    assert found.evidence["retired"] == ["meta_buffer"]
    again = retiring.path.with_name(retiring.path.name + beside)
    again.write_bytes(b"")
    found = v66(retiring)
    assert not found.passed
    assert str(retiring.path) in found.observed


def test_v66_retired_files_are_unused_fails_while_a_process_has_one_open(
    retiring: Archive,
) -> None:
    entry = retiring.store()
    with closing(sqlite3.connect(f"file:{entry.file}?mode=ro", uri=True)) as reading:
        reading.execute("select count(*) from templates").fetchone()
        found = v66(retiring)
    assert not found.passed
    assert f"{entry.file} is open in " in found.observed
    assert v66(retiring).passed
