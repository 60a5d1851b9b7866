"""Pending maintenance work of tables and indexes, found by their health checks."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import sqlalchemy as sa

from memos_assets.catalog import Catalog, Table, VectorIndex
from memos_assets.errors import TargetError
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import SearchIndex, search_indexes, state_of
from memos_assets.maintenance.health import invalid_indexes, statistics_are_there, table_is_vacuumed
from memos_assets.maintenance.recall_drift import Sampled, sampled_recall
from memos_assets.postgres.schema.tables import schema_in

Action = Literal["drop", "vacuum", "analyze", "reindex"]


@dataclass(frozen=True, slots=True)
class Work:
    """Pending work on one object, and the reason. ``table``: the object itself, or its table."""

    action: Action
    schema: str
    name: str
    table: str
    why: str

    @property
    def what(self) -> str:
        """Name with its schema."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Scope:
    """The tables and indexes that maintenance may change.

    Attributes:
        maintained: all tables of the catalog that are maintained.
        names: names of tables and indexes; empty means all of them.
        rebuild: rebuild the named indexes, and those on named tables, even if they are healthy.
    """

    maintained: tuple[Table, ...]
    names: frozenset[str] = frozenset()
    rebuild: bool = False

    def tables(self) -> list[Table]:
        """Return the tables in the scope."""
        return [t for t in self.maintained if not self.names or t.name in self.names]

    def indexes(self) -> list["MaintainedIndex"]:
        """Return the search indexes in the scope."""
        found: list[MaintainedIndex] = []
        for table in self.maintained:
            by_vector = {index.name: index for index in table.vector_indexes}
            found += [
                MaintainedIndex(table, index, by_vector.get(index.name))
                for index in search_indexes(table)
                if not self.names or {table.name, index.name} & self.names
            ]
        return found

    def index_named(self, name: str) -> "MaintainedIndex":
        """Return a search index of the maintained tables."""
        return Scope(self.maintained, frozenset({name})).indexes()[0]


@dataclass(frozen=True, slots=True)
class MaintainedIndex:
    """A search index of a table; ``by_vector`` is None where it is not a vector index."""

    table: Table
    index: SearchIndex
    by_vector: VectorIndex | None

    def sampled(self, conn: sa.Connection) -> Sampled | None:
        """Return its recall against exact scans; None where it is not a vector index."""
        if self.by_vector is None:
            return None
        return sampled_recall(conn, self.table, self.by_vector, self.index)


def scope_of(catalog: Catalog, names: Collection[str] = (), *, rebuild: bool = False) -> Scope:
    """Return the scope of these tables and indexes, named with or without schema.

    Raises:
        TargetError: M360 a name is not in the catalog, or a rebuild names nothing.
    """
    known = {table.name for table in catalog.maintained}
    known |= {index.name for table in catalog.maintained for index in search_indexes(table)}
    wanted = frozenset(name.rpartition(".")[2] for name in names)
    strange = sorted(wanted - known)
    if strange or (rebuild and not wanted):
        raise TargetError(
            "M360",
            "no table or search index of the catalog" if strange else "nothing to rebuild is named",
            where=", ".join(strange) or "maintain",
            fix="name tables or indexes as the report and memos/indexes/ in the UI do",
        )
    return Scope(catalog.maintained, wanted, rebuild)


def pending_work(engine: sa.Engine, scope: Scope) -> list[Work]:
    """Return the work that is pending now. A VACUUM may make a rebuild unnecessary."""
    found: dict[str, Work] = {}
    for stage in STAGES:
        for work in stage(engine, scope):
            # A VACUUM analyses, too.
            found.setdefault(work.what, work)
    return list(found.values())


def _leftovers(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    with engine.connect() as conn:
        found = invalid_indexes(conn, scope.maintained)
    meant = scope.tables()
    if scope.names:
        meant += [one.table for one in scope.indexes()]
    tables = {f"{schema_in(engine, table.schema)}.{table.name}" for table in meant}
    for index in found:
        if index.leftover and index.table in tables:
            why = "left by a REINDEX CONCURRENTLY that broke off"
            yield Work("drop", index.schema, index.name, index.table.partition(".")[2], why)


def _unhealthy_tables(
    action: Action,
    judge: Callable[[sa.Connection, Table], Finding],
    engine: sa.Engine,
    scope: Scope,
    prefix: str = "",
) -> Iterator[Work]:
    for table in scope.tables():
        with engine.connect() as conn:
            finding = judge(conn, table)
        # A missing table gives no evidence, and maintenance cannot repair it.
        if not finding.passed and finding.evidence:
            schema = schema_in(engine, table.schema)
            yield Work(action, schema, table.name, table.name, prefix + finding.observed)


def _unhealthy_indexes(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    for one in scope.indexes():
        index = one.index
        with engine.connect() as conn:
            state, schema = state_of(conn, index.name, index.schema), index.schema_in(conn)
            if state is None or state.builder is not None:
                # The asset builds a missing index; one that is being built is not unhealthy.
                continue
            why = ""
            if not state.valid:
                why = "invalid"
            elif scope.rebuild:
                why = "requested"
            elif (sample := one.sampled(conn)) is not None:
                why = f"recall {sample.recall:.3f}" if sample.drifted else ""
        if why:
            yield Work("reindex", schema, index.name, index.table, why)


Stage = Callable[[sa.Engine, Scope], Iterator[Work]]
#: In the order of execution: an earlier stage may make the work of a later one unnecessary.
STAGES: Sequence[Stage] = (
    _leftovers,
    partial(_unhealthy_tables, "vacuum", table_is_vacuumed),
    partial(_unhealthy_tables, "analyze", statistics_are_there, prefix="statistics: "),
    _unhealthy_indexes,
)
