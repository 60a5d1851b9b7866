"""Stores that fail, roles that see too little, writers that are killed: one error, live rows as before."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from pyarrow import fs

from memos_assets.errors import SnapshotError
from memos_assets.postgres.engine import create_engine, libpq_url
from memos_assets.settings import Settings
from memos_assets.snapshots.reader import batches
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "snapshots"))


def code_of(engine: sa.Engine, store: Store, **options: Any) -> str:
    with pytest.raises(SnapshotError) as caught:
        write_snapshot(engine, store, **options)
    return caught.value.code


class _FullDisk(fs.LocalFileSystem.__mro__[0]):  # type: ignore[misc]
    pass


def test_a_disk_that_fills_up_leaves_no_snapshot_and_no_partial_file(
    engine: sa.Engine, tmp_path: Path
) -> None:
    fill(engine, 200)
    handler = _Limited(fs.LocalFileSystem(), limit=20_000)
    root = tmp_path / "full"
    store = Store(fs.PyFileSystem(handler), str(root), str(root))

    with pytest.raises(SnapshotError) as caught:
        write_snapshot(engine, store)

    assert caught.value.code == "M806"
    assert "No space left on device" in str(caught.value)
    assert store.ids() == []
    assert store.names("partial") == []
    handler.limit = 10**9
    assert verify(store, write_snapshot(engine, store).manifest).is_whole
