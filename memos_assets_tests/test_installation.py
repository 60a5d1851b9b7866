"""A package without a checkout: which files it reads, and where its state is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memos_assets.installation import CHECKOUT, PROJECT_ROOT, state_folder
from memos_assets.settings import load_settings

SCRIPT = """
from memos_assets.postgres.migrations import SCRIPTS, head
from memos_assets.runs.dagster_home import prepare_dagster_home
from memos_assets.settings import load_settings
settings = load_settings()
print(settings.home, prepare_dagster_home(settings), SCRIPTS, head(), sep="\\n")
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Arrange the package as the wheel does, beside a folder that looks like a checkout."""
    assert CHECKOUT is not None
    package = tmp_path / "site" / "memos_assets"
    shutil.copytree(CHECKOUT / "memos_assets", package)
    shutil.copytree(CHECKOUT / "sql", package / "sql")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(CHECKOUT / name, package)
    return package


def test_an_installed_package_uses_its_own_files_and_the_users_data_directory(
    installed: Path, tmp_path: Path
) -> None:
    user = tmp_path / "user"
    user.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=user,
        env={"PATH": os.environ["PATH"], "HOME": str(user), "PYTHONPATH": str(installed.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    home, dagster_home, scripts, head = done.stdout.splitlines()
    assert Path(home) == user / ".local" / "share" / "memos-assets"
    assert Path(dagster_home) == Path(home) / "dagster"
    assert Path(scripts) == installed / "sql" / "migrations"
    assert head > "0001"
    written = (Path(dagster_home) / "dagster.yaml").read_bytes()
    assert written == (PROJECT_ROOT / "dagster.yaml").read_bytes()
    assert [path.name for path in user.iterdir()] == [".local"]


def test_in_a_checkout_state_and_dagsters_home_are_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = load_settings()
    assert settings.home == state_folder() == PROJECT_ROOT / ".memos"
    assert settings.dagster_home == CHECKOUT == PROJECT_ROOT
