"""The table of commands: each is imported when it is asked for; the version."""

import subprocess
import sys

from memos_assets import __version__
from memos_assets.cli.commands import COMMANDS
from memos_assets_tests.cli.conftest import Command


def imported_by(first: str | None) -> set[str]:
    """Return the modules that assembling the command line imports in a fresh process."""
    program = (
        "import sys\n"
        "from memos_assets.cli.main import assemble\n"
        f"assemble({first!r})\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_a_command_imports_no_module_of_another_command() -> None:
    others = {f"memos_assets.cli.{where.split(':')[0]}" for where in COMMANDS.values()}
    assert imported_by("maintain") & others == {"memos_assets.cli.maintenance"}


def test_the_list_of_commands_imports_no_dagster() -> None:
    assert "dagster" not in imported_by(None)


def test_a_command_that_does_not_exist_is_compared_with_all_that_do(
    memos_assets: Command,
) -> None:
    code, _, err = memos_assets("restore-sources")
    assert code == 2
    assert "Did you mean 'restore-source'?" in err


def test_the_version_is_printed(memos_assets: Command) -> None:
    assert memos_assets("--version") == (0, f"memos-assets {__version__}\n", "")


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "memos_assets", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"memos-assets {__version__}\n")
