"""Snapshots in an object store: a real S3 server, and fsspec's file system in memory."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from moto.server import ThreadedMotoServer

from memos_assets.errors import SnapshotError
from memos_assets.snapshots.reader import batches, dataset
from memos_assets.snapshots.store import Store, open_store
from memos_assets.snapshots.verify import verify
from memos_assets.snapshots.write import write_snapshot
from memos_assets_tests.snapshots.memories import fill


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return an empty store on a server, or in this process."""
    if request.param == "memory":
        yield open_store("memory://snapshots-of-a-test")
        return
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = f"scheme=http&endpoint_override={host}:{port}&region=us-east-1"
        url = f"s3://user:secret@snapshots/team?{options}&allow_bucket_creation=true"
        yield open_store(url)
    finally:
        server.stop()


def test_a_snapshot_in_an_object_store_is_as_one_in_a_folder(
    engine: sa.Engine,
    store: Store,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A server refuses to copy what is larger than this at once; these files are.
    monkeypatch.setattr("memos_assets.snapshots.store.LARGEST_MOVED", 4_000)
    fill(engine, 100)
    assert "secret" not in store.url
    local = open_store(str(tmp_path_factory.mktemp("local")))

    written = write_snapshot(engine, store, label="first")

    assert written.manifest.id == write_snapshot(engine, local).manifest.id
    assert store.names("partial") == []
    assert verify(store, store.manifest("first")).is_whole
    entry = written.manifest.entry("agent.memories")
    assert entry is not None
    assert sum(batch.num_rows for batch in batches(store, entry)) == 100
    assert dataset(store, entry).count_rows() == 100
    assert write_snapshot(engine, store).bytes == 0
    with engine.begin() as conn:
        conn.execute(sa.text("update agent.links set weight = 0.5"))
    changed = write_snapshot(engine, store)
    assert changed.manifest.parent == written.manifest.id

    store.delete(entry.file)
    assert [error.code for error in verify(store, changed.manifest).damaged] == ["M807"]


def test_a_store_that_does_not_answer_is_one_error(engine: sa.Engine) -> None:
    options = "scheme=http&endpoint_override=127.0.0.1:9&region=x&allow_bucket_creation=true"
    store = open_store(f"s3://user:secret@snapshots/team?{options}")
    with pytest.raises(SnapshotError) as caught:
        write_snapshot(engine, store)
    assert caught.value.code == "M803"
    assert "secret" not in str(caught.value)
