"""dagster.yaml: written into a folder of ours, never into another."""

from pathlib import Path

import pytest

from memos_assets.errors import UsageError
from memos_assets.installation import PROJECT_ROOT
from memos_assets.runs.dagster_home import prepare_dagster_home
from memos_assets.settings import load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point DAGSTER_HOME into an empty MEMOS_HOME."""
    monkeypatch.setenv("MEMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    return tmp_path / "home" / "dagster"


def test_a_folder_in_memos_home_gets_the_packages_file(home: Path) -> None:
    assert prepare_dagster_home(load_settings()) == home
    packaged = (PROJECT_ROOT / "dagster.yaml").read_text("utf-8")
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]
    assert (home / "dagster.yaml").read_text("utf-8") == packaged


def test_a_file_that_is_there_stays_as_it_is(home: Path) -> None:
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    assert prepare_dagster_home(load_settings()) == home
    assert (home / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_another_folder_without_the_file_is_refused_and_left_empty(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(other))
    with pytest.raises(UsageError, match=r"^M503 .*other: there is no dagster.yaml"):
        prepare_dagster_home(load_settings())
    assert list(other.iterdir()) == []
