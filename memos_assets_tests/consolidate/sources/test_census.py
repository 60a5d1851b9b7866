"""The rows of caches are counted without changing the files."""

from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from memos_assets.consolidate.sources.census import take_census
from memos_assets.demo.caches import CONTENT_LAYOUT, SCRATCHPAD_LAYOUT
from memos_assets_tests.consolidate import builders as b

BOSTON = ZoneInfo("America/New_York")


def finding(key: str, cached_at: object, **changes: object) -> dict[str, object]:
    return {"content_hash": key, "content": "seen", "cached_at": cached_at, **changes}


def scratchpad(folder: Path, *cached_at: object) -> Path:
    rows = [finding(str(number), time) for number, time in enumerate(cached_at)]
    return b.write_file(folder / "scratchpad_cache.db", SCRATCHPAD_LAYOUT, findings=rows)


def utc(year: int, month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "oldest", "newest"),
    [
        (BOSTON, utc(2025, 7, 1, 12), utc(2025, 12, 27, 20)),
        (ZoneInfo("UTC"), utc(2025, 7, 1, 8), utc(2025, 12, 27, 15)),
    ],
    ids=["boston", "utc"],
)
def test_times_without_an_offset_are_read_in_the_declared_zone(
    zone: ZoneInfo, oldest: datetime, newest: datetime, tmp_path: Path
) -> None:
    # In summer Boston is four hours behind, in winter five.
    path = scratchpad(tmp_path, "2025-12-27T15:00:00.000000", "2025-07-01T08:00:00.000000")
    census = take_census(path, zone)["findings"]
    assert (census.rows, census.oldest, census.newest) == (2, oldest, newest)
    assert census.unreadable == 0


def test_times_that_are_none_are_counted(tmp_path: Path) -> None:
    path = scratchpad(tmp_path, "yesterday", "", None, b"x", 1e300, "2025-12-27T15:00:00")
    census = take_census(path, BOSTON)["findings"]
    assert (census.unreadable, census.oldest) == (5, utc(2025, 12, 27, 20))


def test_an_empty_table_has_no_oldest_row(tmp_path: Path) -> None:
    census = take_census(scratchpad(tmp_path), BOSTON)["missions"]
    assert (census.rows, census.oldest, census.newest, census.unreadable) == (0, None, None, 0)


def test_expired_rows_and_hits_are_counted_and_stay(tmp_path: Path) -> None:
    pages = [
        {"url_hash": "a", "url": "u", "created_at": 0.0, "expires_at": 3600.0, "hit_count": 2},
        {"url_hash": "b", "url": "u", "created_at": 3600.5, "expires_at": 7200.0, "hit_count": 3},
    ]
    path = b.write_file(tmp_path / "content_cache.db", CONTENT_LAYOUT, content_cache=pages)
    before = path.read_bytes()
    census = take_census(path, BOSTON, at=utc(1970, 1, 1, 1, 30))["content_cache"]
    assert (census.rows, census.expired, census.hits) == (2, 1, 5)
    assert census.newest == utc(1970, 1, 1, 1).replace(microsecond=500_000)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["content_cache.db"]
