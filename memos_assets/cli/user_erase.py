"""Commands that erase a user: live rows, kept snapshots, what is beside them; and then search."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from memos_assets.blackboard import archive as board_archive
from memos_assets.cli import exit_codes
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.person import who
from memos_assets.errors import AgentError, MemosAssetsError
from memos_assets.memory import canary
from memos_assets.memory.belongings import nothing_found
from memos_assets.memory.erase import (
    Erasure,
    count_beside,
    erase_rows,
    finish,
    preview,
    prove,
    tombstones,
)
from memos_assets.memory.forks_of_user import drop_forks, find_forks, places
from memos_assets.postgres import schemas
from memos_assets.postgres.connection import database_identity
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.target import open_consolidated
from memos_assets.postgres.user_rows import user_digest
from memos_assets.report.formatting import plural
from memos_assets.settings import Settings, load_settings
from memos_assets.snapshots.restore.exact import one_at_a_time
from memos_assets.snapshots.rewrite import (
    Rewrites,
    erased_users,
    find_erased,
    find_user,
    take_out,
)
from memos_assets.snapshots.sole_writer import sole_writer
from memos_assets.snapshots.store import Store, open_store

User = Annotated[str, typer.Argument(metavar="ID", help="The user's id, exactly as stored.")]
_DIGITS = 12


def erase(
    user: User,
    yes: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--yes", help="Erase. Without it, only count what would be erased.")
    ] = False,
    delete_backups: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--delete-backups",
            help="With --yes: delete dumps in `backups` in MEMOS_HOME that hold texts of the user.",
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Erase a user: rows, snapshots, logs; then search for their texts. No way back."""
    settings = load_settings()
    store = open_store(settings.snapshots_location)
    with open_consolidated(settings, "memos_assets:user_erase") as engine:
        inside = find_user(store, user)
        if not yes:
            with engine.connect() as conn:
                counts = preview(conn, user) | places(find_forks(conn, user))
            counts |= {"snapshots": len(inside)} if inside else {}
            if not counts:
                raise nothing_found(user)
            console.print(counts_table("Would be erased", counts))
            console.print("Nothing was erased. --yes erases; there is no way back.")
            write_json(json_file, {"erased": False, "counts": counts})
            return 0
        # Nobody restores or writes a snapshot in between that has rows of before.
        with one_at_a_time(engine), sole_writer(engine, store):
            with engine.begin() as conn:
                elsewhere = bool(inside or find_forks(conn, user))
                erasure = erase_rows(conn, user, erased_by=who(), elsewhere=elsewhere)
                erasure = count_beside(conn, erasure, drop_forks(conn, user))
            rewrites = _take_out(engine, store)
        # From here on a run that is interrupted is finished by the next one.
        boards = board_archive.take_user_out(board_archive.folder_of(settings), user)
        with engine.begin() as conn:
            board_archive.note_changed(conn, boards)
            beside = {
                "archived boards": len(boards),
                "snapshots": len(rewrites.rewritten),
                "exports of ours": _remove_exports(settings, user),
                "runs of Dagster": _remove_seed_runs(conn, settings, user),
            }
            erasure = count_beside(conn, erasure, beside)
        searched = _places(settings, store)
        erasure = prove(engine, erasure, searched, user)
        if delete_backups and erasure.searched is not None:
            deleted = _delete_backups(settings, erasure.searched.found)
            with engine.begin() as conn:
                erasure = count_beside(conn, erasure, {"backups of ours": deleted})
            erasure = prove(engine, erasure, searched, user) if deleted else erasure
        if erasure.searched is not None and not erasure.searched.found and not rewrites.failed:
            with engine.begin() as conn:
                finish(conn, user)
    return _conclude(settings, erasure, rewrites, json_file)


def _conclude(
    settings: Settings, erasure: Erasure, rewrites: Rewrites, json_file: Path | None
) -> int:
    searched = erasure.searched
    assert searched is not None
    console.print(counts_table("Erased", erasure.counts))
    looked_for = len(canary.needles(erasure.texts))
    _say(
        f"Looked for {plural(looked_for, 'text')} of the user in "
        f"{plural(searched.tables, 'table')} ({searched.table_bytes:,} bytes) and "
        f"{plural(searched.files, 'file')}: "
        f"found in {plural(len(searched.found), 'place')}."
    )
    for place, hits in searched.found.items():
        _say(f"  {place}: {plural(hits, 'text')}")
    not_read = [*canary.NOT_LOOKED_AT, *searched.unread]
    _say(f"Not looked at: {'; '.join(not_read)}.")
    content = {
        "erased": True,
        "tombstone": erasure.number,
        "counts": erasure.counts,
        "texts_looked_for": looked_for,
        "tables": searched.tables,
        "files": searched.files,
        "found": searched.found,
        "not_looked_at": not_read,
        **_as_json(rewrites),
    }
    write_json(json_file, content)
    left: list[MemosAssetsError] = [*rewrites.failed]
    if searched.found:
        left.append(_texts_left(settings, searched.found))
    return _said(left)


def _texts_left(settings: Settings, found: Mapping[str, int]) -> AgentError:
    fix = (
        "delete them there: a memory of others says the same, or a source, an archive or a "
        "file still has it; then run the command again, which searches again"
    )
    if _backups(settings, found):
        fix = f"--delete-backups deletes the dumps among them; {fix}"
    return AgentError(
        "M773",
        f"the erasure is not complete: texts of the user are left in {', '.join(found)}",
        where="user erase",
        fix=fix,
    )


def erasures(
    finish_them: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--finish", help="Take erased users out of snapshots that still have rows of them."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """List the users who were erased, by the digest of their ids, and what is left of them."""
    settings = load_settings()
    store = open_store(settings.snapshots_location)
    rewrites = Rewrites()
    with open_consolidated(settings, "memos_assets:user_erasures") as engine:
        with engine.connect() as conn:
            erased = erased_users(conn)
            found = tombstones(conn)
        if finish_them:
            with sole_writer(engine, store):
                rewrites = _take_out(engine, store)
        inside = {} if rewrites.failed else _by_digest(store, erased)
    table = titled_table("Erasures")
    for name in ("number", "user", "at", "by", "snapshots"):
        table.add_column(name, overflow="fold")
    table.add_column("search")
    for one in found:
        snapshots = f"{inside.get(one.digest, 0):,}"
        search = "finished" if one.is_finished else "open"
        table.add_row(
            *(str(one.number), one.digest[:_DIGITS], f"{one.at:%Y-%m-%d %H:%M}", one.by),
            *(snapshots, search),
        )
    console.print(table)
    if any(not one.is_finished for one in found):
        _say("A search that is open is finished by memos-assets user erase ID --yes.")
    if inside:
        _say("memos-assets user erasures --finish takes erased users out of snapshots.")
    erasures_ = [
        {
            "tombstone": one.number,
            "user_digest": one.digest,
            "erased_at": one.at.isoformat(),
            "erased_by": one.by,
            "snapshots": inside.get(one.digest, 0),
            "search_finished": one.is_finished,
        }
        for one in found
    ]
    write_json(json_file, {"erasures": erasures_, **_as_json(rewrites)})
    return _said(rewrites.failed) or (exit_codes.FAILED if inside else 0)


def _take_out(engine: sa.Engine, store: Store) -> Rewrites:
    """Take every erased user out of the snapshots; the caller is the sole writer."""
    with engine.connect() as conn:
        erased, database = erased_users(conn), database_identity(conn)
    return take_out(store, erased, database=database)


def _by_digest(store: Store, erased: Mapping[str, Any]) -> dict[str, int]:
    """Return digest -> snapshots that name the user."""
    named = {(found.digest, found.snapshot) for found in find_erased(store, erased)}
    digests = [digest for digest, _ in named]
    return {digest: digests.count(digest) for digest in digests}


def _as_json(rewrites: Rewrites) -> dict[str, Any]:
    return {
        "snapshots_rewritten": {one.id: one.into for one in rewrites.rewritten},
        "snapshots_not_rewritten": [str(error) for error in rewrites.failed],
    }


def _said(errors: Sequence[MemosAssetsError]) -> int:
    for error in errors:
        print_error(str(error))
    return exit_codes.FAILED if errors else 0


def _say(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


def counts_table(title: str, counts: dict[str, int]) -> Table:
    """Return place -> rows as a table for the terminal."""
    table = titled_table(title)
    table.add_column("where", overflow="fold")
    table.add_column("rows", justify="right")
    for place, count in counts.items():
        table.add_row(place, f"{count:,}")
    return table


def exports_of(settings: Settings, user: str) -> tuple[Path, str]:
    """Return the folder of exports, and what begins the names of a user's: not the id."""
    return settings.home / "exports", f"{user_digest(user)[:_DIGITS]}-"


def _remove_exports(settings: Settings, user: str) -> int:
    """Delete exports of the user in MEMOS_HOME; return how many."""
    folder, prefix = exports_of(settings, user)
    found = list(folder.glob(f"{prefix}*"))
    for export in found:
        shutil.rmtree(export)
    return len(found)


def _backups(settings: Settings, found: Mapping[str, int]) -> list[Path]:
    """Return the dumps of ours among places where a text was found."""
    folder = (settings.home / "backups").resolve()
    return [path for path in map(Path, found) if path.parent == folder and path.suffix == ".dump"]


def _delete_backups(settings: Settings, found: Mapping[str, int]) -> int:
    """Delete dumps in which a text was found, with their sums; return how many."""
    deleted = _backups(settings, found)
    for path in deleted:
        for name in (path.name, f"{path.name}.sha256", f"{path.name}.content"):
            path.with_name(name).unlink(missing_ok=True)
    return len(deleted)


def _remove_seed_runs(conn: sa.Connection, settings: Settings, user: str) -> int:
    """Delete Dagster's runs whose configuration names the user; return how many."""
    there = sa.func.to_regclass(f"{schemas.DAGSTER.name}.runs")
    if conn.execute(sa.select(there)).scalar_one() is None:
        return 0
    # Dagster takes a second to import, which `--help` and a preview need not wait for.
    from memos_assets.runs.instance import open_instance
    from memos_assets.runs.seed_runs import delete_seed_runs

    with open_instance(settings) as instance:
        return delete_seed_runs(instance, catalog_of(settings).names, user)


def _places(settings: Settings, store: Store) -> canary.Places:
    """Return folders of our files and of Dagster's local ones, each once, and the snapshots."""
    wanted = [settings.home, settings.archive_folder, settings.dagster_home / "storage"]
    return canary.Places(
        [path for path in wanted if path.is_dir()],
        [EmbeddedServer(settings.home).data_directory],
        store,
    )
