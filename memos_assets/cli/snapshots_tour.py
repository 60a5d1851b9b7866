"""The command that shows snapshots on a database, such as that of the demo."""

from memos_assets.cli import exit_codes
from memos_assets.cli.display import console, print_error
from memos_assets.errors import SnapshotError
from memos_assets.settings import load_settings
from memos_assets.snapshots.store import open_store

#: Users whose networks are seeded from the consolidated one.
_FIRST, _SECOND = "ann", "ben"


def tour() -> int:
    """Show snapshots: write one, change memory, write another, compare, restore the first exactly.

    Users ann and ben are seeded from the consolidated network; ben is gone at the end, so run it on
    a database for trial only.
    """
    _run("memory", "seed", "--user", _FIRST)
    first = _write()
    _run("memory", "seed", "--user", _SECOND)
    second = _write()
    _run("snapshots", "diff", first, second, "--limit", "3")
    _run("snapshots", "restore", first, "--mode", "exact", "--yes")
    now = _write()
    if now != first:
        error = SnapshotError(
            "M841",
            f"after an exact restore the live tables are {now[:12]}",
            where=f"snapshot {first[:12]}",
            fix="run it while nobody writes memories; otherwise report it as a defect",
        )
        print_error(str(error))
        return exit_codes.FAILED
    console.print(f"Restored exactly: the id is {first[:12]} again.")
    return 0


def _run(*arguments: str) -> None:
    """Run a command in this process, after showing it.

    Raises:
        SystemExit: it failed, and has said why.
    """
    # The program has this command, too.
    from memos_assets.cli.main import run

    shown = [word[:12] if len(word) == 64 else word for word in arguments]
    console.print(f"\n$ memos-assets {' '.join(shown)}", markup=False, soft_wrap=True)
    code = run(list(arguments))
    if code:
        raise SystemExit(code)


def _write() -> str:
    """Write a snapshot, and return its id."""
    _run("snapshots", "write")
    return open_store(load_settings().snapshots_location).manifests()[-1].id
