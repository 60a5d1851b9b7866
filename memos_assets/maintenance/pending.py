"""What tables and indexes are due for, judged by what their health checks read."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import sqlalchemy as sa

from memos_assets.catalog import MAINTAINED, IndexedTable, VectorIndex
from memos_assets.errors import TargetError
from memos_assets.finding import Finding
from memos_assets.indexes.definitions import SearchIndex, search_indexes, state_of
from memos_assets.maintenance.health import invalid_indexes, statistics_are_there, table_is_vacuumed
from memos_assets.maintenance.recall_drift import sampled_recall
from memos_assets.postgres.schema.tables import data_schema

Action = Literal["drop", "vacuum", "analyze", "reindex"]


@dataclass(frozen=True, slots=True)
class Work:
    """What one object is due for, and why. ``table`` is the one that it is on, or itself."""

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
    """What maintenance may touch.

    Attributes:
        names: of tables and indexes; every one of the catalog if there are none.
        rebuild: rebuild the indexes that are named, or on tables that are, whatever their health.
    """

    names: frozenset[str] = frozenset()
    rebuild: bool = False

    def tables(self) -> list[IndexedTable]:
        """Return the tables in the scope."""
        return [spec for spec in MAINTAINED if not self.names or spec.name in self.names]

    def indexes(self) -> list[tuple[SearchIndex, VectorIndex | None]]:
        """Return the search indexes in the scope, with how they are searched by vectors."""
        found: list[tuple[SearchIndex, VectorIndex | None]] = []
        for spec in MAINTAINED:
            by_vector = {index.name: index for index in spec.vector_indexes}
            found += [
                (index, by_vector.get(index.name))
                for index in search_indexes(spec)
                if not self.names or {spec.name, index.name} & self.names
            ]
        return found


def scope_of(names: Collection[str] = (), *, rebuild: bool = False) -> Scope:
    """Return the scope that a person names, with or without schema.

    Raises:
        TargetError: M360 a name is none of the catalog's, or a rebuild names nothing.
    """
    known = {spec.name for spec in MAINTAINED}
    known |= {index.name for spec in MAINTAINED for index in search_indexes(spec)}
    wanted = frozenset(name.rpartition(".")[2] for name in names)
    strange = sorted(wanted - known)
    if strange or (rebuild and not wanted):
        raise TargetError(
            "M360",
            "no table or search index of the catalog" if strange else "nothing to rebuild is named",
            where=", ".join(strange) or "maintain",
            fix="name tables or indexes as the report and memos/indexes/ in the UI do",
        )
    return Scope(wanted, rebuild)


def due(engine: sa.Engine, scope: Scope) -> list[Work]:
    """Return what would be done at this moment. A VACUUM may make a rebuild needless."""
    found: dict[str, Work] = {}
    for stage in STAGES:
        for work in stage(engine, scope):
            # A VACUUM analyses, too.
            found.setdefault(work.what, work)
    return list(found.values())


def index_named(name: str) -> tuple[SearchIndex, VectorIndex | None]:
    """Return a search index of the catalog, with how it is searched by vectors."""
    return Scope(frozenset({name})).indexes()[0]


def _leftovers(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    with engine.connect() as conn:
        found = invalid_indexes(conn)
        ours = data_schema(conn)
    tables = {f"{spec.schema or ours}.{spec.name}" for spec in scope.tables()}
    if scope.names:
        tables |= {f"{index.schema or ours}.{index.table}" for index, _ in scope.indexes()}
    for index in found:
        if index.leftover and index.table in tables:
            why = "left by a REINDEX CONCURRENTLY that broke off"
            yield Work("drop", index.schema, index.name, index.table.partition(".")[2], why)


def _sick_tables(
    action: Action,
    judge: Callable[[sa.Connection, str, str], Finding],
    engine: sa.Engine,
    scope: Scope,
    said: str = "",
) -> Iterator[Work]:
    for spec in scope.tables():
        schema = spec.schema or data_schema(engine)
        with engine.connect() as conn:
            finding = judge(conn, spec.name, schema)
        # A table that is not there leaves no evidence, and cannot be mended.
        if not finding.passed and finding.evidence:
            yield Work(action, schema, spec.name, spec.name, said + finding.observed)


def _sick_indexes(engine: sa.Engine, scope: Scope) -> Iterator[Work]:
    for index, by_vector in scope.indexes():
        with engine.connect() as conn:
            state, schema = state_of(conn, index.name, index.schema), index.schema_in(conn)
            if state is None or state.builder is not None:
                # Building what is missing is the asset's; what is being built is not sick.
                continue
            why = ""
            if not state.valid:
                why = "invalid"
            elif scope.rebuild:
                why = "asked for"
            elif by_vector is not None:
                sample = sampled_recall(conn, by_vector, index)
                why = f"recall {sample.recall:.3f}" if sample.drifted else ""
        if why:
            yield Work("reindex", schema, index.name, index.table, why)


Stage = Callable[[sa.Engine, Scope], Iterator[Work]]
#: In the order in which they are done: what comes later may be mended by what comes before.
STAGES: Sequence[Stage] = (
    _leftovers,
    partial(_sick_tables, "vacuum", table_is_vacuumed),
    partial(_sick_tables, "analyze", statistics_are_there, said="statistics: "),
    _sick_indexes,
)
