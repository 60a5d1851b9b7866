"""The command that shows snapshots on a database, such as that of the demo."""

import sqlalchemy as sa
import typer

from memos_assets.cli import exit_codes
from memos_assets.cli.display import console, print_error
from memos_assets.errors import SnapshotError
from memos_assets.postgres.schema import agent
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings
from memos_assets.snapshots.store import open_store

#: Users whose networks are seeded from the consolidated one.
_FIRST, _SECOND = "ann", "ben"


def tour() -> int:
    """Show snapshots: write one, change memory, write another, compare, restore the first exactly.

    Users ann and ben are seeded from the consolidated network; ben is gone at the end. A database
    with memories of others is refused.
    """
    _refuse_others()
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


def _refuse_others() -> None:
    """Look for memories that an exact restore of the first snapshot could take away.

    Raises:
        SnapshotError: M842.
    """
    with (
        open_consolidated(load_settings(), "memos_assets:tour") as engine,
        engine.connect() as conn,
    ):
        others = conn.scalar(
            sa.select(sa.func.count())
            .select_from(agent.memories)
            .where(agent.memories.c.user_id.not_in([_FIRST, _SECOND]))
        )
    if others:
        raise SnapshotError(
            "M842",
            f"{others:,} memories of others are there, and the tour restores an earlier snapshot",
            where="agent.memories",
            fix="run it on a database for trial: memos-assets demo, then consolidate",
        )


def _run(*arguments: str) -> None:
    """Run a command in this process, after showing it.

    Raises:
        typer.Exit: it failed, and has said why.
    """
    # The program has this command, too.
    from memos_assets.cli.main import run

    shown = [word[:12] if len(word) == 64 else word for word in arguments]
    console.print(f"\n$ memos-assets {' '.join(shown)}", markup=False, soft_wrap=True)
    code = run(list(arguments))
    if code:
        raise typer.Exit(code)


def _write() -> str:
    """Write a snapshot, and return its id."""
    _run("snapshots", "write")
    return open_store(load_settings().snapshots_location).manifests()[-1].id
