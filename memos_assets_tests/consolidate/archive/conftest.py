"""A loaded file, an archive, and moves between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.archive import store as archive
from memos_assets.consolidate.archive.eligibility import find_candidates, manifest_of
from memos_assets.consolidate.archive.forget import forget
from memos_assets.consolidate.archive.manifests import Archived
from memos_assets.consolidate.archive.repair import repair
from memos_assets_tests.consolidate import builders as b


@dataclass(frozen=True, slots=True)
class Archive:
    """The file `meta_buffer.db` with two templates, loaded; and the archive beside its folder."""

    engine: sa.Engine
    path: Path
    folder: Path

    def store(self, name: str = "meta_buffer") -> Archived:
        """Move a source into the archive."""
        with self.engine.connect() as conn:
            (found,) = [one for one in find_candidates(conn, MEMOS, []) if one.name == name]
        with archive.locked(self.folder):
            return archive.store(self.engine, self.folder, manifest_of(self.engine, found))

    def repair(self, *named: str, everything: bool = False) -> list[str]:
        """Repair as a command does that names some files, or all of them."""
        with archive.locked(self.folder):
            said = repair(self.engine, self.folder, named=None if everything else named)
        return [str(one) for one in said]

    @property
    def retired_to(self) -> str | None:
        place: str | None = b.rows(
            self.engine, "select retired_to from memos_ops.sources where source = 'meta_buffer'"
        )[0][0]
        return place

    def states(self) -> Sequence[tuple[object, ...]]:
        return b.rows(self.engine, "select name, state from memos_ops.archived order by 1")


@pytest.fixture
def retiring(shared_engine: sa.Engine, tmp_path: Path) -> Iterator[Archive]:
    """Give each test the module's database with one loaded file."""
    path = b.write_kind(tmp_path / "data", "meta_buffer", templates=[b.template(1), b.template(2)])
    b.consolidate(shared_engine, path)
    yield Archive(shared_engine, path, tmp_path / "archive")
    b.execute(shared_engine, "update memos_ops.sources set retired_to = null")
    b.execute(shared_engine, "delete from memos_ops.archived")
    for (name,) in b.rows(shared_engine, "select source from memos_ops.sources"):
        forget(shared_engine, MEMOS, name, with_rows=True)
