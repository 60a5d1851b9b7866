"""Where the races take place: a temporary home, an embedded server, a demo folder."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.measure import progress
from memos_assets.catalog import MEMOS
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.pins import Pin, take_pin
from memos_assets.demo import Scale, write_demo
from memos_assets.postgres import migrations
from memos_assets.postgres.engine import check_server, create_engine, libpq_url
from memos_assets.postgres.schema import tables
from memos_assets.postgres.schema.consolidated import tables_of
from memos_assets.postgres.server.embedded import DATABASE, EmbeddedServer
from memos_assets.postgres.server.ownership import account_for, open_path
from memos_assets.settings import Settings


@dataclass(frozen=True)
class World:
    """A server with production settings and a demo folder, gone when the races are over.

    Attributes:
        folder: holds all of it.
        server: runs.
        scale: of the demo.
    """

    folder: Path
    server: EmbeddedServer
    scale: Scale

    @property
    def demo(self) -> Path:
        """The memOS folder that is consolidated."""
        return self.folder / "demo"

    @property
    def home(self) -> Path:
        """MEMOS_HOME."""
        return self.server.home

    @cached_property
    def settings(self) -> Settings:
        """Settings of this home; whatever database the environment names is left alone."""
        return Settings(home=self.home, database_url=None)

    @cached_property
    def pins(self) -> list[Pin]:
        """One pinned copy per file that is consolidated, beside the home."""
        files = find_files(MEMOS, [Root(self.demo)])
        return [
            take_pin(file.source, file.kind, file.path, self.folder / "pins")
            for file in files
            if file.treatment == "consolidate" and file.kind is not None
        ]

    def administrator(self, database: str = "postgres") -> psycopg.Connection:
        """Connect without a transaction."""
        return psycopg.connect(libpq_url(self.server.url(database)), autocommit=True)

    def empty(self) -> None:
        """Replace the database by an empty one and forget every pin and report."""
        with self.administrator() as conn:
            drop = sql.SQL("drop database if exists {} with (force)")
            conn.execute(drop.format(sql.Identifier(DATABASE)))
        for entry in self.home.iterdir():
            if entry.is_dir() and entry != self.server.data_directory:
                shutil.rmtree(entry)
        self.server.start()
        self.settle()

    def settle(self) -> None:
        """Write out buffers of earlier contestants, so that none pays for another."""
        with self.administrator() as conn:
            conn.execute("checkpoint")

    @contextmanager
    def fresh(self) -> Iterator[sa.Engine]:
        """Yield an engine on a database that has the schema and no rows."""
        self.empty()
        engine = create_engine(self.server.url(), self.settings, application_name="bench")
        try:
            check_server(engine)
            migrations.upgrade(engine)
            self.settle()
            yield engine
        finally:
            engine.dispose()

    def truncate(self) -> None:
        """Empty every consolidated table, the ledger and the rejects."""
        emptied = [*tables_of(MEMOS).tables.values(), tables.chunks, tables.rejects]
        with self.administrator(DATABASE) as conn:
            conn.execute(
                sql.SQL("truncate {}").format(
                    sql.SQL(", ").join(
                        sql.Identifier(str(table.schema), table.name) for table in emptied
                    )
                )
            )
        self.settle()

    def readable(self, path: Path) -> Path:
        """Let the server's user read a file."""
        path.chmod(0o644)
        open_path(path, account_for(self.server.data_directory))
        return path


@contextmanager
def opened_world(scale: Scale, *, factor: float = 1.0) -> Iterator[World]:
    """Start a server and write a demo of seed 1; stop and remove both, however the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="memos-bench-"))
    server = EmbeddedServer(folder / "home")
    try:
        server.start()
        manifest = write_demo(folder / "demo", scale=scale, seed=1, factor=factor)
        progress.print(
            f"A demo of {manifest.rows:,} rows in {len(manifest.files)} files, "
            "and a server of its own."
        )
        yield World(folder, server, scale)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
