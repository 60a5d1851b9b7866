"""Make a tampering on a copy of the demo's database, and judge it by the checks."""

import itertools
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy as sa
from psycopg import sql

from bench.world import World
from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.checklist import PROOF
from memos_assets.errors import MemosAssetsError
from memos_assets.postgres import migrations
from memos_assets.postgres.connection import driver_of, first_line, put_in_force
from memos_assets.postgres.engine import create_engine
from memos_assets.postgres.server.embedded import DATABASE
from memos_assets.search.functions import vector_schema
from memos_assets.settings import Settings
from tamper.tampering import Tampering

#: Checks that search, which takes longest; what they would notice V02, V06 and V15 do.
_SEARCHES = (16, 17, 18)
#: Assets that are about the whole database.
_WHOLE = ("/live_version", "/search_functions")
_numbers = itertools.count(1)

#: Label of a check, or code of an error -> the first line that names what is wrong.
Noticed = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A tampering, and what noticed it."""

    tampering: Tampering
    noticed: Noticed

    @property
    def is_seen(self) -> bool:
        """Whether a check that should be red is red; a harmless change need not be seen."""
        if "not made" in self.noticed:
            return False
        return bool(self.tampering.why) or bool(self.noticed.keys() & {*self.tampering.red})


def judged(world: World, settings: Settings, tampering: Tampering) -> Outcome:
    """Tamper with a copy of the demo's database, and take the change of a pinned copy back."""
    with copied(world, settings) as engine:
        holder = _tampered_pin(engine, tampering) if tampering.pin else nullcontext()
        with holder:
            try:
                make(engine, tampering)
            except psycopg.Error as error:
                return Outcome(tampering, {"not made": first_line(error)})
            return Outcome(tampering, red(engine, settings, tampering.table))


def make(engine: sa.Engine, tampering: Tampering) -> None:
    """Run the statements of a tampering, which name types and operators without a schema."""
    with engine.begin() as conn:
        put_in_force(conn, {"search_path": f"pg_catalog, {vector_schema(conn)}"})
        if tampering.sql:
            # Without parameters, so that a percent sign is one.
            driver_of(conn).execute(completed(tampering.sql).encode())


def red(engine: sa.Engine, settings: Settings, table: str | None) -> Noticed:
    """Return what fails, warnings left out, of the checks of a table and of the whole database."""
    found: dict[str, str] = {}
    context = CheckContext(engine, MEMOS, settings)
    kind = None if table is None else MEMOS.kind_of_table(table)
    for check in PROOF:
        if check.severity == "warning" or check.number in _SEARCHES:
            continue
        for subject in check.subjects(MEMOS):
            name = subject.asset.rpartition("/")[2]
            if kind is not None and not (
                subject.asset.endswith(_WHOLE)
                or name == table
                or name.startswith((f"{table}_embedding_", f"{table}_search_", f"{table}_meta"))
                or (subject.asset.startswith("sqlite/") and name == kind.name)
            ):
                continue
            try:
                finding = check.judge(context, subject.value)
            except MemosAssetsError as error:
                found.setdefault(error.code, str(error))
                continue
            if not finding.passed:
                faults = finding.evidence.get("faults") or [finding.observed]
                found.setdefault(check.label, str(faults[0]))
    return found


@contextmanager
def copied(world: World, settings: Settings) -> Iterator[sa.Engine]:
    """Yield an engine on a copy of the consolidated database, which is gone afterwards."""
    name = f"tampered_{next(_numbers)}"
    with world.administrator() as conn:
        conn.execute(
            sql.SQL("create database {} template {} strategy file_copy").format(
                sql.Identifier(name), sql.Identifier(DATABASE)
            )
        )
    engine = create_engine(world.server.url(name), settings, application_name="tamper")
    try:
        yield engine
    finally:
        engine.dispose()
        with world.administrator() as conn:
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
            conn.execute("drop role if exists tamper_stranger")


@contextmanager
def _tampered_pin(engine: sa.Engine, tampering: Tampering) -> Iterator[None]:
    with engine.connect() as conn:
        path = Path(
            conn.execute(
                sa.text(
                    "select p.path from memos_ops.pins p join memos_ops.sources s on s.source = "
                    "p.source and s.pin_digest = p.digest where s.source = :source"
                ),
                {"source": tampering.source},
            ).scalar_one()
        )
    kept = path.with_suffix(".kept")
    shutil.copy2(path, kept)
    try:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(tampering.pin)
        yield
    finally:
        kept.replace(path)


def completed(statement: str) -> str:
    """Put in the statement that makes the function of the words for search as it was."""
    made = migrations.functions_made()["search_document"]
    again = made.replace("create function", "create or replace function", 1)
    return statement.replace("{search_document}", again)
