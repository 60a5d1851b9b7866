"""Commands about retirement: retire, restore-source, archive, purge-archive, forget."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from memos_assets.catalog import MEMOS
from memos_assets.cli.asking import agreed, require_answer
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import Data, DryRun, JsonFile, Yes, roots_from
from memos_assets.consolidate.archive import records
from memos_assets.consolidate.archive.confirmation import confirmation_of, retirement_plan
from memos_assets.consolidate.archive.eligibility import Candidate
from memos_assets.consolidate.archive.forget import forget, rows_of
from memos_assets.consolidate.archive.lock import locked
from memos_assets.consolidate.archive.manifests import Archived, entry_named, read_archive
from memos_assets.consolidate.archive.repair import repair
from memos_assets.consolidate.sources.discover import Root, find_files
from memos_assets.consolidate.sources.registry import source_named
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural, size
from memos_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    import dagster as dg

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME...]", help="Which ones; all if none is named.")
]


@contextmanager
def _opened(settings: Settings, name: str) -> Iterator[tuple["dg.DagsterInstance", sa.Engine]]:
    # Dagster takes a second to import, which refusals and `--help` need not wait for; as below.
    from memos_assets.runs.instance import open_instance

    with (
        open_consolidated(settings, f"memos_assets:{name}") as engine,
        open_instance(settings) as instance,
    ):
        yield instance, engine


def retire_command(
    names: Names = None,
    data: Data = None,
    dry_run: DryRun = False,  # noqa: FBT002  flags at the terminal, here and below
    accept_open_rejects: Annotated[  # noqa: FBT002
        bool,
        typer.Option(
            "--accept-open-rejects",
            help="Retire sources that have open rejects, too; the rejected rows are kept.",
        ),
    ] = False,
    yes: Yes = False,  # noqa: FBT002
    json_file: JsonFile = None,
) -> int:
    """Move sources that are loaded and proven, test and legacy files into the archive."""
    from memos_assets.defs.retirement import look
    from memos_assets.runs.retirement import known_roots, retire, show

    settings = load_settings()
    catalog, roots = catalog_of(settings), roots_from(data, settings)
    files = find_files(catalog, roots, none_will_do=True)
    with _opened(settings, "retire") as (instance, engine):
        if not dry_run:
            require_answer("retire", yes=yes)
            with locked(settings.archive_folder):
                repaired = repair(
                    engine,
                    settings.archive_folder,
                    named=names or None,
                    roots=[*known_roots(settings), *(root.path for root in roots)],
                )
            _say(map(str, repaired))
            settled = {one.name for one in repaired if one.became == "retired"}
            if names and not set(names) - settled:
                show(instance, catalog)
                write_json(json_file, {"candidates": [], "retired": sorted(settled), "failed": []})
                return 0
            names = [name for name in names or () if name not in settled]
        candidates, unseen = look(
            instance,
            engine,
            settings,
            catalog,
            roots,
            files,
            names or (),
            accept_open_rejects=accept_open_rejects,
        )
        ready = [candidate for candidate in candidates if candidate.would_be_retired]
        refused = [candidate for candidate in candidates if candidate.unmet]
        console.print(_candidates_table(candidates, roots, dry_run=dry_run))
        if unseen:
            console.print(
                f"Note: the open files of {unseen} processes are not visible to this user; a file "
                "that they have open is noticed only while they lock it."
            )
        if dry_run:
            plan = retirement_plan(
                ready, settings.archive_folder, accept_open_rejects=accept_open_rejects
            )
            if ready:
                _print_confirmation(confirmation_of(engine, plan))
            console.print("Nothing was moved.")
            write_json(json_file, _as_json(candidates))
            return 1 if refused else 0
        question = f"Move {plural(len(ready), 'file')} to {settings.archive_folder}?"
        if ready and not agreed("retire", question, yes=yes, otherwise="Nothing was moved."):
            return 1
        done = retire(
            instance,
            engine,
            settings,
            catalog,
            roots,
            ready,
            accept_open_rejects=accept_open_rejects,
        )
    for failure in done.failures:
        print_error(failure)
    gone = {candidate.path for candidate in ready}
    entries, _ = read_archive(settings.archive_folder)
    moved = [e for e in entries if e.manifest.state == "retired" and e.origin in gone]
    console.print(
        f"Retired {plural(len(moved), 'file')}, {size(sum(e.manifest.size for e in moved))}, to "
        f"{settings.archive_folder}. memos-assets restore-source NAME puts one back.",
        markup=False,
        soft_wrap=True,
    )
    write_json(
        json_file,
        {
            **_as_json(candidates),
            "retired": [entry.manifest.name for entry in moved],
            "failed": list(done.failures),
        },
    )
    return 1 if refused or done.failures else 0


def _as_json(candidates: Sequence[Candidate]) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "name": one.name,
                "path": str(one.path),
                "role": one.role,
                "would_be_retired": one.would_be_retired,
                "why": one.why,
                "unmet": [{"what": unmet.what, "fix": unmet.fix} for unmet in one.unmet],
            }
            for one in candidates
        ],
        "retired": [],
        "failed": [],
    }


def _print_confirmation(confirmation: str) -> None:
    console.print(f"confirmation: {confirmation}", soft_wrap=True)
    console.print(
        "It is of these files as they are now, and works once: in the configuration of the job "
        "retire_files, beside the same options. `memos-assets retire` needs none.",
        soft_wrap=True,
    )


def _candidates_table(
    candidates: Sequence[Candidate], roots: Sequence[Root], *, dry_run: bool
) -> Table:
    table = titled_table("Retirement")
    table.add_column("name", overflow="fold")
    table.add_column("file", no_wrap=True)
    table.add_column("is retired" if not dry_run else "would be retired")
    table.add_column("why not, and what to do", overflow="fold")
    order = {"source": 0, "other": 1, "stays": 2}
    for one in sorted(candidates, key=lambda candidate: (order[candidate.role], candidate.name)):
        about = "; ".join(f"{unmet.what}. Fix: {unmet.fix}" for unmet in one.unmet)
        mark = "[green]yes[/]" if one.would_be_retired else "[red]no[/]"
        if one.role == "stays":
            mark, about = "stays", one.why
        elif one.role == "other" and not about:
            about = f"test or legacy file: {one.why}"
        table.add_row(_plain(one.name), _plain(_short(one.path, roots)), mark, _plain(about))
    return table


def _short(path: Path, roots: Sequence[Root]) -> str:
    for root in roots:
        if path != root.path and path.is_relative_to(root.path):
            return str(path.relative_to(root.path))
    return str(path)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        console.print(f"Note: {line}", markup=False, soft_wrap=True)


def restore_source(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A name that memos-assets archive lists.")
    ],
) -> int:
    """Put a retired file back at its original path, byte for byte."""
    from memos_assets.runs.retirement import restore

    settings = load_settings()
    with _opened(settings, "restore") as (instance, engine):
        entry, said = restore(instance, engine, settings, MEMOS, name)
    _say(said)
    if entry is not None:
        console.print(f"{name} is at {entry.origin} again.", markup=False, soft_wrap=True)
    return 0


def archive(json_file: JsonFile = None) -> int:
    """List retired files: rows, size, since when, and from when they may be purged."""
    settings = load_settings()
    entries, unreadable = read_archive(settings.archive_folder)
    table = titled_table("Archive")
    for title in ("name", "folder", "state"):
        table.add_column(title, overflow="fold")
    for title in ("rows", "size"):
        table.add_column(title, justify="right")
    table.add_column("since")
    table.add_column("deletable from")
    for entry in entries:
        manifest = entry.manifest
        table.add_row(
            _plain(manifest.name),
            _plain(entry.folder.name),
            manifest.state,
            f"{manifest.rows:,}",
            size(manifest.size),
            manifest.retired_at[:10],
            "" if manifest.purged_at else f"{_deletable_from(entry, settings):%Y-%m-%d}",
        )
    console.print(table)
    for what in unreadable:
        print_error(str(records.damaged(what)))
    write_json(
        json_file,
        {
            "archive": [
                {
                    "name": entry.manifest.name,
                    "folder": entry.folder.name,
                    "origin": str(entry.origin),
                    "state": entry.manifest.state,
                    "rows": entry.manifest.rows,
                    "bytes": entry.manifest.size,
                    "retired_at": entry.manifest.retired_at,
                    "deletable_from": _deletable_from(entry, settings).isoformat(),
                }
                for entry in entries
            ],
            "unreadable": list(map(str, unreadable)),
        },
    )
    return 1 if unreadable else 0


def _deletable_from(entry: Archived, settings: Settings) -> datetime:
    return entry.deletable_from(settings.archive_grace_days)


def purge_archive(
    names: Names = None,
    dry_run: DryRun = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
    json_file: JsonFile = None,
) -> int:
    """Delete retired files whose grace period has passed; their manifests stay."""
    settings = load_settings()
    folder = settings.archive_folder
    entries, unreadable = read_archive(folder)
    for what in unreadable:
        print_error(str(records.damaged(what)))
    done = [e for e in entries if e.manifest.state == "purged" and _is_named(e, names)]
    if names:
        gone = {name for name in names if any(_is_named(entry, [name]) for entry in done)}
        entries = [e for e in entries if e.manifest.state == "purging" and _is_named(e, names)]
        begun = {name for name in names if any(_is_named(entry, [name]) for entry in entries)}
        entries += [entry_named(folder, n) for n in dict.fromkeys(names) if n not in gone | begun]
        for entry in done:
            console.print(f"{entry.manifest.name} was purged at {entry.manifest.purged_at}.")
    else:
        entries = [e for e in entries if e.manifest.state in ("retired", "purging")]
    now = datetime.now(UTC)
    deletable = [
        entry
        for entry in entries
        if entry.manifest.state == "purging" or _deletable_from(entry, settings) <= now
    ]
    for entry in entries:
        when = "may be deleted" if entry in deletable else "may be deleted only from"
        until = "" if entry in deletable else f" {_deletable_from(entry, settings):%Y-%m-%d}"
        console.print(
            f"{entry.manifest.name} ({size(entry.manifest.size)}) {when}{until}", markup=False
        )
    refused = bool(names) and len(deletable) < len(entries)
    names_of = [entry.manifest.name for entry in deletable]
    if dry_run or not deletable:
        console.print("Nothing was deleted.")
        write_json(json_file, {"deletable": names_of, "deleted": 0, "failed": []})
        return 1 if refused else 0
    question = f"Delete {plural(len(deletable), 'file')} for good?"
    if not agreed("purge-archive", question, yes=yes, otherwise="Nothing was deleted."):
        return 1

    from memos_assets.runs.retirement import purge

    with _opened(settings, "purge") as (instance, engine):
        said, errors = purge(
            instance, engine, settings, MEMOS, [entry.folder.name for entry in deletable]
        )
    _say(said)
    for error in errors:
        print_error(str(error))
    console.print(
        f"Deleted {plural(len(deletable) - len(errors), 'file')}. Their manifests and pinned "
        "copies stay."
    )
    failed = list(map(str, errors))
    deleted = len(deletable) - len(errors)
    write_json(json_file, {"deletable": names_of, "deleted": deleted, "failed": failed})
    return 1 if refused or errors else 0


def _is_named(entry: Archived, names: Sequence[str] | None) -> bool:
    return bool({entry.manifest.name, entry.folder.name} & set(names or ()))


def forget_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A registered source.")],
    with_rows: Annotated[  # noqa: FBT002
        bool, typer.Option("--with-rows", help="Delete its rows, rejects and ledger, too.")
    ] = False,
    dry_run: DryRun = False,  # noqa: FBT002
    yes: Yes = False,  # noqa: FBT002
) -> int:
    """Remove a source from the bookkeeping tables. Its file is not touched."""
    from memos_assets.defs.partitions import chunks_name, parse_chunk_key

    settings = load_settings()
    with _opened(settings, "forget") as (instance, engine):
        with engine.connect() as conn:
            loaded = rows_of(conn, source_named(conn, MEMOS.kinds, name))
        rows = f"{plural(sum(loaded.values()), 'row')} of {name} from {', '.join(loaded)}"
        if dry_run:
            said = f"Would delete {rows}" if loaded else f"{name} has no rows"
            console.print(f"{said}. Nothing was changed.", markup=False, soft_wrap=True)
            return 0
        if loaded and with_rows:
            kept = "Nothing was deleted."
            if not agreed("forget", f"Delete {rows}?", yes=yes, otherwise=kept):
                return 1
        deleted = forget(engine, MEMOS, name, with_rows=with_rows)
        for kind in MEMOS.consolidated:
            partitions = chunks_name(MEMOS.names, kind)
            for key in instance.get_dynamic_partitions(partitions):
                if parse_chunk_key(key)[0] == name:
                    instance.delete_dynamic_partition(partitions, key)
    console.print(
        f"{name} is forgotten; {sum(deleted.values()):,} rows were deleted.",
        markup=False,
        soft_wrap=True,
    )
    return 0
