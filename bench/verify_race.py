"""Race 4: proving every table row by row against loading it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import sqlalchemy as sa

from bench.encoded import work_of
from bench.measure import Spread, alternate, seconds_of
from bench.sheets import Sheet, spread_cells, verdict
from bench.world import World
from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.reader import chunk_stream
from memos_assets.consolidate.loading.load import load_stream
from memos_assets.consolidate.sources.pins import Pin
from memos_assets.consolidate.sources.registry import specs_in
from memos_assets.proof.rows.compare import prove_table

#: At most this many times the load of the same rows.
LIMIT = 1.5
#: Tables that get a line of their own.
_LINES = 5

_LOAD = "load"
_PROVE = "prove"


@dataclass(slots=True)
class _Race:
    """Loads and proves table by table; a proof needs a load before it."""

    world: World
    engine: sa.Engine
    each: dict[tuple[str, str, str], Spread] = field(default_factory=dict)
    loaded: bool = False

    def load(self) -> float:
        """Load every table of every source into emptied tables."""
        self.world.truncate()
        self.loaded = True
        return self._every(_LOAD, self._load)

    def prove(self) -> float:
        """Prove every table of every source."""
        if not self.loaded:
            self._every(None, self._load)
            self.loaded = True
        self.world.settle()
        return self._every(_PROVE, self._prove)

    def _every(self, act: str | None, work: Callable[[TableSpec, Pin], None]) -> float:
        whole = 0.0
        for pin in self.world.pins:
            for spec in specs_in(pin):
                seconds = seconds_of(lambda spec=spec, pin=pin: work(spec, pin))  # type: ignore[misc]
                if act is not None:
                    spread = self.each.setdefault((act, spec.name, pin.source), Spread())
                    spread.seconds.append(seconds)
                whole += seconds
        return whole

    def _load(self, spec: TableSpec, pin: Pin) -> None:
        load_stream(self.engine, spec, chunk_stream(spec, work_of(spec, [pin])), run_id="bench")

    def _prove(self, spec: TableSpec, pin: Pin) -> None:
        with self.engine.connect() as conn:
            proof = prove_table(conn, spec, pin)
        assert not proof.faults, f"{spec.qualified} {pin.source}: {proof.faults}"


def verify_race(world: World, rounds: int) -> list[Sheet]:
    """Load and prove every table of every source."""
    with world.fresh() as engine:
        race = _Race(world, engine)
        spreads = alternate({_LOAD: race.load, _PROVE: race.prove}, rounds)
    lines = [("all tables of all sources", spreads[_LOAD], spreads[_PROVE])]
    longest = sorted(
        ((key[1:], spread) for key, spread in race.each.items() if key[0] == _LOAD),
        key=lambda item: -item[1].median,
    )
    for (table, source), load in longest[:_LINES]:
        lines.append((f"{table}, {source}", load, race.each[_PROVE, table, source]))
    rows: list[tuple[str, ...]] = []
    for name, load, prove in lines:
        ratio = prove.median / load.median
        target = verdict(ratio, LIMIT, "x") if not rows else ""
        rows.append((name, *spread_cells(load), *spread_cells(prove), f"{ratio:.2f}", target))
    return [
        Sheet(
            "verify",
            "Proof of every row against its load",
            ("", "load s", "min - max", "prove s", "min - max", "prove / load", "target"),
            rows,
            (
                "Both sides are read to the end, every value is compared and columns memOS derives "
                f"are computed again. The {_LINES} tables that load longest have lines of "
                "their own."
            ),
        )
    ]
