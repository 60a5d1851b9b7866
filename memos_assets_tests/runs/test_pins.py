"""A consolidation takes its pins once, and every part of it works from those."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from memos_assets.consolidate.sources import observe, pinned
from memos_assets.consolidate.sources.pins import Pin, take_pin
from memos_assets.runs.swap import consolidate_and_swap
from memos_assets_tests.defs.world import ONE_KIND, World, put_template, write_templates

#: What pins two files a and b.
ONCE = {
    "for the consolidation": 1,
    "observe a": 1,
    "observe b": 1,
    "take a": 1,
    "take b": 1,
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count calls by what they pin."""
    counted: Counter[str] = Counter()
    observe_source, pins_for = observe.observe_source, observe.pins_for

    def taken(source: str, *args: Any, **options: Any) -> Pin:
        counted[f"take {source}"] += 1
        return take_pin(source, *args, **options)

    def observed(engine: sa.Engine, source: Any, folder: Path) -> Pin:
        counted[f"observe {source.name}"] += 1
        return observe_source(engine, source, folder)

    def for_all(*args: Any) -> list[Pin]:
        counted["for the consolidation"] += 1
        return pins_for(*args)

    monkeypatch.setattr(observe, "take_pin", taken)
    monkeypatch.setattr(observe, "observe_source", observed)
    monkeypatch.setattr(pinned, "pins_for", for_all)
    return counted


@contextmanager
def choices_read(engine: sa.Engine) -> Iterator[list[str]]:
    """Collect queries, of this engine, for the pins that a consolidation chose."""
    found: list[str] = []

    def read(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lower().startswith("select") and "consolidation_pins" in statement:
            found.append(statement)

    sa.event.listen(engine, "before_cursor_execute", read)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", read)


def test_a_consolidation_pins_each_source_once_and_loads_that_whatever_memos_writes(
    world: World, calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for rowid, name in enumerate(("a", "b"), start=1):
        write_templates(world.data / f"{name}.db", [rowid])
    pins_for = observe.pins_for

    def then_written(*args: Any) -> list[Pin]:
        calls["for the consolidation"] += 1
        pins = pins_for(*args)
        put_template(world.data / "a.db", "t2")
        return pins

    monkeypatch.setattr(pinned, "pins_for", then_written)
    with choices_read(world.engine) as reads:
        done = world.consolidate()
    assert done.failures == []
    assert calls == ONCE
    # Whether a choice stands is read before and after the pin is chosen, and never again.
    assert len(reads) == 2 * len(("a", "b"))
    assert world.rows("select source, id from memos.thought_templates order by 1") == [
        ("a", "t1"),
        ("b", "t2"),
    ]
    (red,) = [outcome for outcome in done.checklist if not outcome.proven]
    assert red.check.label == "V08"


def test_a_consolidation_into_a_shadow_pins_once_too(world: World, calls: Counter[str]) -> None:
    for rowid, name in enumerate(("a", "b"), start=1):
        write_templates(world.data / f"{name}.db", [rowid])
    done = consolidate_and_swap(
        world.instance, world.engine, world.settings, ONE_KIND, world.roots, world.files()
    )
    assert done.exchange is not None
    assert calls == ONCE
