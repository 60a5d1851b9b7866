"""Commands that load and prove: observe, consolidate, verify."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.catalog import Catalog
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import live_progress
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import (
    Data,
    Exclude,
    Include,
    JsonFile,
    SkipUnreadable,
    choice_from,
    roots_from,
)
from memos_assets.cli.outcome import conclude, conclude_unchanged
from memos_assets.cli.person import who
from memos_assets.cli.remediation_plan import conclude_plan
from memos_assets.cli.versions import announce_swap, print_exchange
from memos_assets.consolidate.archive.manifests import read_archive
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.rejects.decisions import table_named
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.consolidate.sources.registry import source_named
from memos_assets.consolidate.sources.shrinkage import Acceptance, accept
from memos_assets.errors import UsageError
from memos_assets.postgres.target import open_consolidated, open_target
from memos_assets.settings import Settings, load_settings

AcceptedRows = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-rows",
        metavar="SOURCE.TABLE=ROWS",
        help="Accept that a table lost most of its rows, with the count that M561 named; "
        "may be repeated.",
    ),
]


def _retired_from(roots: Sequence[Root], settings: Settings) -> bool:
    """Whether sources under the roots are in the archive, and are loaded from their pins."""
    entries, _ = read_archive(settings.archive_folder)
    return any(
        entry.manifest.is_source and entry.origin.is_relative_to(root.path)
        for entry in entries
        for root in roots
    )


def _refuse_unusable(files: Sequence[FoundFile], *, none_will_do: bool = False) -> None:
    """Refuse every unusable file at once: nothing is loaded from half a folder.

    Raises:
        MemosAssetsError: as the one file that cannot be used; an ExceptionGroup of several.
    """
    unusable = [file.error for file in files if file.error is not None]
    if len(unusable) > 1:
        raise ExceptionGroup("files that cannot be used", unusable)
    if unusable:
        raise unusable[0]
    if not none_will_do and not any(file.treatment == "consolidate" for file in files):
        raise UsageError(
            "M527",
            "no SQLite file is of a kind that is consolidated",
            where=", ".join(sorted({str(file.root) for file in files})),
            fix="list the files: memos-assets plan --data DIR",
        )


def _accept(engine: sa.Engine, catalog: Catalog, accepted: Sequence[Acceptance]) -> None:
    if accepted:
        with engine.begin() as conn:
            accept(conn, catalog.consolidated, accepted, who())


def observe(
    data: Data = None,
    accept_rows: AcceptedRows = None,
    json_file: JsonFile = None,
    include: Include = None,
    exclude: Exclude = None,
    skip_unreadable: SkipUnreadable = False,  # noqa: FBT002  it is a flag at the terminal
) -> int:
    """Register and pin the files without loading them, as the source assets do."""
    from memos_assets.runs import instance as launch

    settings = load_settings()
    catalog, roots = catalog_of(settings), roots_from(data, settings)
    accepted = [Acceptance.parse(argument) for argument in accept_rows or ()]
    choice = choice_from(include, exclude, skip_unreadable=skip_unreadable)
    files = find_files(catalog, roots, choice=choice)
    _refuse_unusable(files)
    with open_target(settings, "memos_assets:observe") as engine, live_progress():
        _accept(engine, catalog, accepted)
        launch.observe(engine, settings, catalog, roots, files)
    observed = [
        {"source": file.source, "path": str(file.path)}
        for file in files
        if file.treatment == "consolidate"
    ]
    write_json(json_file, {"observed": observed})
    return 0


def consolidate_command(
    data: Data = None,
    json_file: JsonFile = None,
    reload: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool,
        typer.Option(
            "--reload",
            help="Load chunks again that are up to date: all, or those that --table, --source and "
            "--chunk name.",
        ),
    ] = False,
    swap: Annotated[  # noqa: FBT002  as above
        bool,
        typer.Option(
            "--swap",
            help="Load every registered source into a shadow, which goes live once it is proven.",
        ),
    ] = False,
    accept_rows: AcceptedRows = None,
    include: Include = None,
    exclude: Exclude = None,
    skip_unreadable: SkipUnreadable = False,  # noqa: FBT002  as above
    tables: Annotated[
        list[str] | None,
        typer.Option("--table", metavar="TABLE", help="With --reload: this table; repeatable."),
    ] = None,
    sources: Annotated[
        list[str] | None,
        typer.Option("--source", metavar="NAME", help="With --reload: this source; repeatable."),
    ] = None,
    chunks: Annotated[
        list[str] | None,
        typer.Option(
            "--chunk",
            metavar="[SOURCE/]NNN",
            help="With --reload: this chunk, as checks name it; repeatable.",
        ),
    ] = None,
) -> int:
    """Make the tables match the files, build the indexes, and prove every row."""
    # The checklist takes a second to import, which help and other commands need not wait for.
    from memos_assets.report.unchanged import results_if_unchanged

    settings = load_settings()
    catalog, roots = catalog_of(settings), roots_from(data, settings)
    accepted = [Acceptance.parse(argument) for argument in accept_rows or ()]
    again = _reload(catalog, tables or (), sources or (), chunks or (), reload=reload)
    retired = _retired_from(roots, settings)
    choice = choice_from(include, exclude, skip_unreadable=skip_unreadable)
    files = find_files(catalog, roots, none_will_do=retired, choice=choice)
    _refuse_unusable(files, none_will_do=retired)
    with open_target(settings, "memos_assets:consolidate") as engine:
        _accept(engine, catalog, accepted)
        _require_sources(engine, catalog, files, again)
        if again is None and not swap:
            results = results_if_unchanged(engine, catalog, files)
            if results is not None:
                return conclude_unchanged(engine, settings, catalog, results, json_file)
        # Dagster takes a second to import, which a run without anything to do need not wait for.
        from memos_assets.runs import instance as launch

        if swap:
            announce_swap(catalog)
        with live_progress():
            done = launch.consolidate(
                engine, settings, catalog, roots, files, reload=again, swap=swap
            )
        code = conclude(engine, settings, catalog, done, json_file)
        if done.exchange is not None:
            print_exchange(done.exchange, settings)
        return code


def _reload(
    catalog: Catalog,
    tables: Sequence[str],
    sources: Sequence[str],
    chunks: Sequence[str],
    *,
    reload: bool,
) -> Reload | None:
    """Return what `--reload` and its options choose; None without it.

    Raises:
        UsageError: M507 an option of it without it, or a chunk that is not one; M540 no such table.
    """
    wrong = [one for one in chunks if not one.rpartition("/")[2].isdecimal()]
    if wrong or (not reload and (tables or sources or chunks)):
        raise UsageError(
            "M507",
            "not a chunk" if wrong else "the option needs --reload",
            where=f"--chunk {wrong[0]}" if wrong else "--table, --source, --chunk",
            fix="write --reload --chunk SOURCE/000, as checks name chunks",
        )
    if not reload:
        return None
    named = [table_named(catalog, name).name for name in tables]
    numbers = []
    for one in chunks:
        source, slash, number = one.rpartition("/")
        numbers.append(f"{source}{slash}{int(number):03d}")
    return Reload(tuple(named), tuple(sources), tuple(numbers))


def _require_sources(
    engine: sa.Engine, catalog: Catalog, files: Sequence[FoundFile], again: Reload | None
) -> None:
    """Refuse a source of `--reload` that is neither among the files nor registered.

    Raises:
        UsageError: as `source_named`.
    """
    wanted = set(again.sources) if again is not None else set()
    wanted -= {file.source for file in files if file.treatment == "consolidate"}
    with engine.connect() as conn:
        for name in sorted(wanted):
            source_named(conn, catalog.kinds, name)


def verify_command(
    json_file: JsonFile = None,
    plan: Annotated[  # noqa: FBT002  a flag at the terminal
        bool,
        typer.Option(
            "--plan", help="The remediation plan's checklist instead, each line in its own words."
        ),
    ] = False,
) -> int:
    """Read both sides again and run the whole checklist; nothing is loaded."""
    settings = load_settings()
    catalog = catalog_of(settings)
    with open_consolidated(settings, "memos_assets:verify") as engine:
        # Dagster takes a second to import, which a refusal need not wait for.
        from memos_assets.runs import instance as launch

        with live_progress():
            done = (launch.verify_plan if plan else launch.verify)(engine, settings, catalog)
        if plan:
            return conclude_plan(done, json_file)
        return conclude(engine, settings, catalog, done, json_file)
