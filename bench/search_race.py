"""Search: the public function against exact scans, the remediation plan's settings and hnswlib."""

import importlib.util
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql

from bench.measure import alternate, progress, seconds_of
from bench.sheets import Sheet, reached, verdict
from bench.world import World
from memos_assets.catalog import (
    MEMOS,
    VectorIndex,
)
from memos_assets.catalog.columns import Stored
from memos_assets.impact.latency import Search, Timing, by_statement, scan, searching, timed
from memos_assets.impact.measure import BETTER, PLAN_SETTINGS
from memos_assets.impact.trial_tables import (
    AS_STORED,
    Float,
    Generated,
    K,
    Layout,
    build,
    fits_page,
    index_for,
    load,
)
from memos_assets.postgres.schema.tables import in_schema, schema_in
from memos_assets.search import api
from memos_assets.search.functions import install
from memos_assets.search.queries import SEARCH_SETTINGS, nearest

#: How many times as long an exact scan takes as the search, at least: of the table as memOS stores
#: it, of the best layout, and of the embeddings whose bits are indexed.
LIMIT_STORED = 300
LIMIT_BEST = 80
LIMIT_BITS = 10
LIMIT_RECALL = 0.99
#: Times as long as in the smallest table, at most.
LIMIT_GROWTH = 3

#: Queries per round of a search, and of a scan, which reads every row each time.
QUERIES = 100
SCANS = 10

STORED = "exact scan, as memOS stores it"
API = "memos_assets.search.api.search"
FUNCTION = "memos.search_<table>, called in SQL"
STATEMENT = "its statement alone"
PLAN = "index of the remediation plan (ef_search 40)"
HNSWLIB = "hnswlib in memory (the ceiling), ef {}"
_HNSWLIB_EF = (40, 100)

#: A table beside the one that `index_for` takes, with the same kind of embeddings.
_SMALL_TABLE = "semantic_memories"


@dataclass(frozen=True, slots=True)
class Scale:
    """Rows of the table that is raced, of the wide one, and of the smallest."""

    rows: int
    wide_rows: int
    least_rows: int
    dimension: int = 1_024
    wide_dimension: int = 4_096


SCALES = {
    "plan": Scale(rows=100_000, wide_rows=9_000, least_rows=1_000),
    "small": Scale(rows=2_000, wide_rows=500, least_rows=200),
}


@lru_cache(maxsize=4)
def _ground_truth(generated: Generated) -> tuple[Float, npt.NDArray[np.int64]]:
    """Return the queries, and the numbers of their nearest rows."""
    queries = generated.queries(QUERIES)
    return queries, generated.neighbours(queries).rows


@dataclass(slots=True)
class _Course:
    """One table of generated rows, its queries, and the timings of every contestant.

    Attributes:
        engine: its data schema holds the table.
        generated: the rows.
        timings: contestant -> one per round.
        built: contestant -> seconds that its index took.
    """

    engine: sa.Engine
    generated: Generated
    timings: dict[str, list[Timing]] = field(default_factory=dict)
    built: dict[str, float] = field(default_factory=dict)
    queries: Float = field(init=False)
    neighbours: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.queries, self.neighbours = _ground_truth(self.generated)

    @property
    def index(self) -> VectorIndex:
        """The catalog's index on the table."""
        return self.generated.index

    @property
    def size(self) -> str:
        """Rows and elements."""
        return f"{self.generated.rows:,} x {self.index.dimension:,}"

    def prepare(self) -> None:
        """Load the table and build its index."""
        progress.print(f"  {self.size}: load and index", soft_wrap=True)
        load(self.engine, self.generated)
        self.built[API] = build(self.engine, self.generated.spec, self.index)

    def time(self, name: str, search: Search, count: int = QUERIES) -> float:
        """Search for the first ``count`` queries; return the median in seconds."""
        timing = timed(search, self.queries[:count], self.neighbours[:count])
        self.timings.setdefault(name, []).append(timing)
        return timing.p50_ms / 1e3

    def send(
        self,
        name: str,
        statement: sql.Composed,
        settings: Mapping[str, str],
        count: int = QUERIES,
        stored: Stored | None = None,
    ) -> float:
        """Time a statement; it casts the query to ``stored``, the type of the column as a rule."""
        with searching(self.engine, settings) as driver:
            search = by_statement(driver, statement, stored or self.generated.vector.stored)
            return self.time(name, search, count)

    def scan(self, name: str, layout: Layout) -> float:
        """Compute every distance. The index cannot serve it: it is on an expression."""
        statement = scan(self.generated, schema_in(self.engine, MEMOS.schema), layout)
        return self.send(name, statement, {}, SCANS, layout.stored)

    def statement(self) -> float:
        """Send the function's statement."""
        return self.send(
            STATEMENT, nearest(self.generated.spec.as_table, self.index, hits=True), SEARCH_SETTINGS
        )

    def function(self) -> float:
        """Call the function as any client does."""
        name = sql.Identifier("memos", f"search_{self.index.table}")
        call = sql.SQL("select * from {}(%(embedding)s, %(k)s)").format(name)
        return self.send(FUNCTION, call, {})

    def api(self) -> float:
        """Call it as Python does, from an array to hits."""
        (key,) = self.generated.spec.key
        with self.engine.connect() as conn:

            def search(query: Float) -> Sequence[int]:
                found = api.search(conn, self.index.table, query, K)
                return [int(hit.key[key]) for hit in found]

            return self.time(API, search)


@dataclass(slots=True)
class _Race:
    """All tables and contestants at once, so that they can alternate.

    Attributes:
        large: that is raced.
        stored: the same rows as memOS stores them, under the remediation plan's index.
        better: layout -> the same rows, stored so.
        wide: embeddings whose bits are indexed.
        small: the smallest table.
        small_stored: the same rows as memOS stores them.
    """

    large: _Course
    stored: _Course
    better: dict[Layout, _Course]
    wide: _Course
    small: _Course
    small_stored: _Course

    def prepare(self) -> None:
        """Load and index everything."""
        for course in (self.large, self.wide, self.small):
            course.prepare()
        progress.print(f"  {self.stored.size}: load, and index as the remediation plan does")
        for course in (self.stored, self.small_stored):
            load(course.engine, course.generated, AS_STORED)
        self.stored.built[PLAN] = build(
            self.stored.engine, self.stored.generated.spec, _as_planned(self.large.index)
        )
        for layout, course in self.better.items():
            if course is not self.large:
                progress.print(f"  {course.size}: load, {layout.name}")
                load(course.engine, course.generated, layout)

    def contestants(self) -> dict[str, Callable[[], float]]:
        """Return name -> search."""
        large = self.large
        found: dict[str, Callable[[], float]] = {
            f"{large.size} {STORED}": partial(self.stored.scan, STORED, AS_STORED),
            f"{large.size} {API}": large.api,
            f"{large.size} {FUNCTION}": large.function,
            f"{large.size} {STATEMENT}": large.statement,
            f"{large.size} {PLAN}": self._plan,
        }
        for layout, course in self.better.items():
            found[f"{large.size} {layout.scan}"] = partial(course.scan, layout.scan, layout)
        for ef, search in self._hnswlib().items():
            name = HNSWLIB.format(ef)
            found[f"{large.size} {name}"] = partial(large.time, name, search)
        found[f"{self.wide.size} {STORED}"] = partial(self.wide.scan, STORED, AS_STORED)
        found[f"{self.wide.size} {API}"] = self.wide.api
        found[f"{self.small.size} {STORED}"] = partial(self.small_stored.scan, STORED, AS_STORED)
        found[f"{self.small.size} {API}"] = self.small.api
        return found

    def _plan(self) -> float:
        course = self.stored
        statement = nearest(
            course.generated.spec.as_table,
            _as_planned(course.index),
            schema_in(course.engine, MEMOS.schema),
        )
        return course.send(PLAN, statement, PLAN_SETTINGS)

    def _hnswlib(self) -> dict[int, Search]:
        """Build its index of the same vectors; return ef -> a search, none if it is not there."""
        if importlib.util.find_spec("hnswlib") is None:
            return {}
        import hnswlib

        course, index = self.large, self.large.index
        progress.print(f"  {course.size}: hnswlib")
        graph = hnswlib.Index(space="cosine", dim=index.dimension)
        graph.init_index(course.generated.rows, M=index.m, ef_construction=index.ef_construction)

        def add() -> None:
            for batch in course.generated.batches():
                graph.add_items(batch)

        seconds = seconds_of(add)
        # The others have one core each, too.
        graph.set_num_threads(1)

        def search(ef: int, query: Float) -> Sequence[int]:
            graph.set_ef(ef)
            found: list[int] = graph.knn_query(query, k=K)[0][0].tolist()
            return found

        course.built |= {HNSWLIB.format(ef): seconds for ef in _HNSWLIB_EF}
        return {ef: partial(search, ef) for ef in _HNSWLIB_EF}


def _as_planned(index: VectorIndex) -> VectorIndex:
    """Return the remediation plan's index: HNSW on the vectors, m 16, ef_construction 64."""
    return replace(index, method="vector")


def search_race(world: World, rounds: int) -> list[Sheet]:
    """Race searches of generated rows in one database."""
    with world.fresh() as engine:
        with engine.begin() as conn:
            install(conn, MEMOS.schema, MEMOS.searchable)
        race = _race(engine, SCALES[world.scale])
        race.prepare()
        world.settle()
        alternate(race.contestants(), rounds)
        return [_sheet(race)]


def _race(engine: sa.Engine, scale: Scale) -> _Race:
    def beside(name: str) -> sa.Engine:
        with engine.begin() as conn:
            conn.execute(sa.schema.CreateSchema(name))
        return in_schema(engine, MEMOS.schema, name)

    generated = Generated(*index_for(MEMOS, scale.dimension), scale.rows)
    large = _Course(engine, generated)
    as_stored = beside("bench_stored")
    better = {
        layout: large
        if generated.is_stored_by(layout)
        else _Course(beside(f"bench_{layout.stored}"), generated)
        for layout in BETTER
        if fits_page(layout, scale.dimension)
    }
    (small_index,) = (
        index
        for index in MEMOS.table(_SMALL_TABLE).vector_indexes
        if index.dimension == scale.dimension
    )
    small = Generated(MEMOS.table(_SMALL_TABLE), small_index, scale.least_rows)
    return _Race(
        large=large,
        stored=_Course(as_stored, generated),
        better=better,
        wide=_Course(engine, Generated(*index_for(MEMOS, scale.wide_dimension), scale.wide_rows)),
        small=_Course(engine, small),
        small_stored=_Course(as_stored, small),
    )


def _sheet(race: _Race) -> Sheet:
    large, wide, small = race.large, race.wide, race.small
    whole = {
        **race.stored.timings,
        **large.timings,
        **{name: t for course in race.better.values() for name, t in course.timings.items()},
    }
    built = {**large.built, **race.stored.built}
    ours = _median(whole[API])
    scans = [whole[layout.scan] for layout in race.better] + [whole[STORED]]
    best = min(scans, key=_median)
    rows = []
    for name, timings in whole.items():
        target = ""
        if timings is whole[STORED]:
            target = reached(_median(timings) / ours, LIMIT_STORED, "x")
        elif timings is best:
            target = reached(_median(timings) / ours, LIMIT_BEST, "x")
        elif name == API:
            target = reached(_recall(timings), LIMIT_RECALL, "recall")
        rows.append(_row(large.size, name, timings, ours, built.get(name), target))
    for name, timings in wide.timings.items():
        times = _median(timings) / _median(wide.timings[API])
        target = reached(times, LIMIT_BITS, "x")
        if name == API:
            target = reached(_recall(timings), LIMIT_RECALL, "recall")
        rows.append(
            _row(wide.size, name, timings, _median(wide.timings[API]), wide.built.get(name), target)
        )
    for name, timings in {**race.small_stored.timings, **small.timings}.items():
        least = _median(small.timings[API])
        target = verdict(ours / least, LIMIT_GROWTH, "x from there") if name == API else ""
        rows.append(_row(small.size, name, timings, least, small.built.get(name), target))
    return Sheet(
        "search",
        f"Search for the {K} nearest of {large.size} elements, and of other sizes",
        ("", "p50 ms", "min - max", "x search", "recall", "worst", "index s", "target"),
        rows,
        (
            f"Unit vectors around 1,000 centres. {QUERIES} queries a round, {SCANS} of each scan, "
            "one client on one core, warm; the median of the rounds. `x search` is against "
            f"`{API}` on the same rows. Strategies: {large.index.strategy}; "
            f"{wide.index.strategy}.{_missing(race)}"
        ),
    )


def _missing(race: _Race) -> str:
    raced = HNSWLIB.format(_HNSWLIB_EF[0]) in race.large.timings
    return "" if raced else " hnswlib is not installed (`pip install --editable '.[bench]'`)."


def _row(
    size: str,
    name: str,
    timings: Sequence[Timing],
    ours: float,
    built: float | None,
    target: str,
) -> tuple[str, ...]:
    medians = [timing.p50_ms for timing in timings]
    return (
        f"{size}: {name}",
        f"{_median(timings):.2f}",
        f"{min(medians):.2f} - {max(medians):.2f}",
        f"{_median(timings) / ours:.2f}",
        f"{_recall(timings):.3f}",
        f"{min(timing.worst_recall for timing in timings):.1f}",
        "" if built is None else f"{built:.1f}",
        target,
    )


def _median(timings: Sequence[Timing]) -> float:
    return statistics.median(timing.p50_ms for timing in timings)


def _recall(timings: Sequence[Timing]) -> float:
    return min(timing.recall for timing in timings)
