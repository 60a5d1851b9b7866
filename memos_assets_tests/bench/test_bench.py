"""The races run, name everybody and say ratios; no time is asserted."""

from pathlib import Path

import pytest

from bench import load_race, recall_race, search_race
from bench.measure import BenchError
from bench.memory import MemorySampler
from bench.search_race import Scale
from bench.sheets import Sheet, reached, verdict, write_sheets
from bench.world import opened_world
from memos_assets.impact.measure import BETTER


def test_the_load_race_names_every_contestant_and_its_ratio() -> None:
    with opened_world("small") as world:
        folder = world.folder
        (sheet,) = load_race.load_race(world, rounds=1)
        assert not MemorySampler(0, 0).peaks()
    assert not folder.exists()
    ratios = {row[0]: float(row[5]) for row in sheet.rows}
    assert set(ratios) == {
        load_race.COPY,
        load_race.OURS,
        load_race.WRITE_ROW,
        load_race.INSERTS,
        load_race.PANDAS,
    }
    assert ratios[load_race.COPY] == 1.0
    assert all(ratio > 0 for ratio in ratios.values())
    assert [row[0] for row in sheet.rows if "<= 1.6 x" in row[6]] == [load_race.OURS]
    assert all(row[0] in sheet.markdown() for row in sheet.rows)


def test_the_search_race_names_every_contestant_and_its_recall(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tiny = Scale(rows=300, wide_rows=40, least_rows=60)
    monkeypatch.setitem(search_race.SCALES, "small", tiny)
    monkeypatch.setattr(search_race, "QUERIES", 5)
    monkeypatch.setattr(search_race, "SCANS", 2)
    with opened_world("small") as world:
        (sheet,) = search_race.search_race(world, rounds=1)
    recalls = {row[0]: float(row[4]) for row in sheet.rows}
    ways = (search_race.STORED, search_race.API, search_race.FUNCTION, search_race.STATEMENT)
    others = (search_race.PLAN, *(layout.scan for layout in BETTER))
    assert {f"300 x 1,024: {way}" for way in (*ways, *others)} <= set(recalls)
    assert {f"{size}: {way}" for size in ("40 x 4,096", "60 x 1,024") for way in ways[:2]} <= set(
        recalls
    )
    assert min(recalls.values()) >= 0.9
    assert all(float(row[3]) > 0 for row in sheet.rows)
    targets = {row[-1].rpartition(":")[0] for row in sheet.rows if row[-1]}
    assert targets == {">= 300 x", ">= 80 x", ">= 10 x", ">= 0.99 recall", "<= 3 x from there"}


def test_the_recall_race_names_every_size_and_its_target(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = recall_race.Sizes(middle=40, large=60, users=3, each=20)
    monkeypatch.setitem(recall_race.SIZES, "small", sizes)
    monkeypatch.setattr(recall_race, "QUERIES", 7)
    with opened_world("small") as world:
        (sheet,) = recall_race.recall_race(world, rounds=1)
    assert [row[:2] for row in sheet.rows] == [
        ("20", "0"),
        ("20", "40"),
        ("40", "60"),
        ("60", "60"),
    ]
    assert {row[4] for row in sheet.rows} == {"exact"}
    targets = [row[5].rpartition(":")[0] for row in sheet.rows]
    assert targets == ["", "<= 1.3 x alone", "<= 15 ms", "<= 60 ms"]


def test_a_target_is_met_or_missed() -> None:
    assert reached(0.99, 0.99, "recall") == ">= 0.99 recall: met"
    assert verdict(1.6, 1.6, "x") == "<= 1.6 x: met"
    assert verdict(61, 60, "s") == "<= 60 s: missed"


def test_a_table_replaces_its_own_block_and_no_other(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(
        "before\n<!-- bench:load -->\nold\n<!-- /bench:load -->\n"
        "<!-- bench:verify -->\nkept\n<!-- /bench:verify -->\nafter\n",
        encoding="utf-8",
    )
    sheet = Sheet("load", "Load", ("way", "s"), [("ours", "1.00")])
    write_sheets(document, [sheet], "here")
    text = document.read_text(encoding="utf-8")
    assert "old" not in text
    assert "| ours | 1.00 |" in text
    assert "kept" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_document_without_the_block_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("nothing\n", encoding="utf-8")
    with pytest.raises(BenchError, match="Fix:"):
        write_sheets(document, [Sheet("load", "Load", ("way",), [])], "here")
