"""A second run has nothing to do only where everything is as it was when every check passed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memos_assets.report.unchanged import results_if_unchanged
from memos_assets_tests.defs.conftest import Consolidated
from memos_assets_tests.defs.world import ONE_KIND, SPEC, World, put_template, write_templates

FILE = "meta_buffer.db"
INDEX = "memos.thought_templates_embedding_768_hnsw"
ROWS = "select xmin::text, ctid::text from memos.thought_templates order by id"

#: What changes, and how it is taken back.
STATEMENTS = {
    "a row of the table is in another chunk": (
        "update memos.thought_templates set chunk = chunk + 7 where id = 't1'",
        "update memos.thought_templates set chunk = chunk - 7 where id = 't1'",
    ),
    "the ledger names another content": (
        f"update memos_ops.chunks set digest = 'x' || digest where table_name = '{SPEC.name}'",
        f"update memos_ops.chunks set digest = substr(digest, 2) where table_name = '{SPEC.name}'",
    ),
    "the code is another": (
        "update memos_ops.chunks set code_version = 'x' || code_version",
        "update memos_ops.chunks set code_version = substr(code_version, 2)",
    ),
    "an index is missing": (
        f"alter index {INDEX} rename to renamed",
        "alter index memos.renamed rename to thought_templates_embedding_768_hnsw",
    ),
    "a check failed": (
        "update memos_ops.evaluations set passed = false where claim like 'v02%'",
        "update memos_ops.evaluations set passed = true where claim like 'v02%'",
    ),
    "a check was never evaluated": (
        "update memos_ops.evaluations set asset = 'x' || asset where claim like 'v13%'",
        "update memos_ops.evaluations set asset = substr(asset, 2) where claim like 'v13%'",
    ),
    "a chunk was loaded after the proof": (
        "update memos_ops.chunks set loaded_at = loaded_at + interval '1 hour'",
        "update memos_ops.chunks set loaded_at = loaded_at - interval '1 hour'",
    ),
    "a pinned copy is gone": (
        "update memos_ops.pins set path = '/nowhere' || path",
        "update memos_ops.pins set path = substr(path, 9)",
    ),
}


@contextmanager
def put_back(path: Path) -> Iterator[None]:
    kept = path.read_bytes()
    yield
    path.write_bytes(kept)


def nothing_to_do(world: World) -> bool:
    return results_if_unchanged(world.engine, ONE_KIND, world.files()) is not None


def test_there_is_nothing_to_do_only_while_everything_is_as_it_was_proven(world: World) -> None:
    file = world.data / FILE
    write_templates(file, [1, 2])
    assert not nothing_to_do(world)
    assert world.consolidate().proven
    standing = results_if_unchanged(world.engine, ONE_KIND, world.files())
    assert standing is not None
    assert all(outcome.proven for outcome in standing)
    for change, (statement, undoing) in STATEMENTS.items():
        world.execute(statement)
        assert not nothing_to_do(world), change
        world.execute(undoing)
        assert nothing_to_do(world), change
    with put_back(file):
        put_template(file, "t2", pattern="how")
        assert not nothing_to_do(world)
    write_templates(world.data / "other.db", [3])
    assert not nothing_to_do(world)
    (world.data / "other.db").unlink()
    files = world.files()
    file.rename(world.data / "moved.txt")
    assert results_if_unchanged(world.engine, ONE_KIND, files) is None


def test_a_consolidation_of_what_is_proven_touches_no_row(consolidated: Consolidated) -> None:
    world = consolidated([1, 2])
    before = world.rows(ROWS)
    assert world.consolidate().proven
    assert world.rows(ROWS) == before
    assert nothing_to_do(world)
