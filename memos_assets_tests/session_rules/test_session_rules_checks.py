"""V42: an asset check over the sources that the settings name."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.check import CheckContext
from memos_assets.finding import Finding
from memos_assets.session_rules.checks import sources_keep_the_session_rules
from memos_assets.settings import load_settings
from memos_assets_tests.session_rules.marked import write


def judged(monkeypatch: pytest.MonkeyPatch, paths: str, made_in: str = "") -> Finding:
    monkeypatch.setenv("MEMOS_SESSIONS_PATH", paths)
    monkeypatch.setenv("MEMOS_SESSIONS_MADE_IN", made_in)
    unconnected = sa.create_engine("postgresql+psycopg://")
    return sources_keep_the_session_rules(CheckContext(unconnected, MEMOS, load_settings()), None)


def test_v42_sources_keep_the_session_rules_fails_where_a_service_makes_a_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = "from core.database import SessionLocal\n\ndef store():\n    return SessionLocal()\n"
    write(tmp_path, {"services/memory.py": service, "scripts/fill.py": service})
    finding = judged(monkeypatch, f"{tmp_path / 'services'}:{tmp_path / 'scripts'}")
    assert not finding.passed
    assert finding.observed == "2 files: S001 at 2"
    assert finding.evidence["places"][0].startswith(f"{tmp_path}/scripts/fill.py:4:12 S001 store ")

    assert judged(monkeypatch, str(tmp_path), "scripts/*").evidence["broken"] == {"S001": 1}
    allowed = judged(monkeypatch, str(tmp_path), "scripts/*:services/memory.py")
    assert (allowed.passed, allowed.observed) == (True, "2 files: every rule is kept")


def test_v42_passes_where_no_path_is_set_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = judged(monkeypatch, "")
    assert finding.passed
    assert "MEMOS_SESSIONS_PATH is unset" in finding.observed


@pytest.mark.parametrize(
    ("name", "observed"),
    [
        ("nothing", "M780 "),
        ("empty", "0 files: no Python file is there"),
        ("broken", "0 files: 1 not checked, no Python file is there"),
    ],
)
def test_v42_does_not_pass_on_what_it_could_not_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, observed: str
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, {"broken/a.py": "def f(:\n"})
    finding = judged(monkeypatch, str(tmp_path / name))
    assert not finding.passed
    assert finding.observed.startswith(observed)
