"""Commands about data: plan, observe, consolidate, verify, demo."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import sqlalchemy as sa
import typer

from memos_assets.catalog import Catalog
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import console, live_progress, print_error
from memos_assets.cli.outcome import conclude, conclude_unchanged, write_json
from memos_assets.cli.person import who
from memos_assets.cli.plan import print_plan
from memos_assets.cli.remediation_plan import conclude_plan
from memos_assets.cli.versions import announce_swap, print_exchange
from memos_assets.consolidate.archive.manifests import read_archive
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.consolidate.sources.shrinkage import Acceptance, accept
from memos_assets.demo import write_demo
from memos_assets.errors import UsageError
from memos_assets.postgres.target import open_consolidated, open_target
from memos_assets.report.formatting import size
from memos_assets.report.render import find_report, reports_folder
from memos_assets.report.unchanged import results_if_unchanged
from memos_assets.settings import Settings, load_settings

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Folder to search for SQLite files, or NAME=FILE; may be repeated. "
        "Default: MEMOS_DATA.",
    ),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome as JSON, too.")
]

AcceptedRows = Annotated[
    list[str] | None,
    typer.Option(
        "--accept-rows",
        metavar="SOURCE.TABLE=ROWS",
        help="Accept that a table lost most of its rows, with the count that M561 named; "
        "may be repeated.",
    ),
]


def roots_from(data: Sequence[str] | None, settings: Settings) -> list[Root]:
    """Return the roots that `--data` names, else those of MEMOS_DATA.

    Raises:
        UsageError: M520 there are none; M521, M522 as `Root.parse`.
    """
    arguments = list(data or settings.data)
    if not arguments:
        raise UsageError(
            "M520",
            "no folder to search",
            where="--data",
            fix="pass --data DIR, or set MEMOS_DATA",
        )
    return [Root.parse(argument) for argument in arguments]


def _retired_from(roots: Sequence[Root], settings: Settings) -> bool:
    """Whether sources under the roots are in the archive, and are loaded from their pins."""
    entries, _ = read_archive(settings.archive_folder)
    return any(
        entry.manifest.is_source and entry.origin.is_relative_to(root.path)
        for entry in entries
        for root in roots
    )


def _refuse_unusable(files: Sequence[FoundFile], *, none_will_do: bool = False) -> None:
    """Report every unusable file, and stop at the first: nothing is loaded from half a folder."""
    unusable = [file.error for file in files if file.error is not None]
    for error in unusable[1:]:
        print_error(str(error))
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


def plan(data: Data = None, json_file: JsonFile = None) -> int:
    """List the files and forecast a consolidation. Writes nothing and needs no database."""
    settings = load_settings()
    catalog = catalog_of(settings)
    files = find_files(catalog, roots_from(data, settings))
    usable, content = print_plan(
        files, budget_mb=settings.maintenance_work_mem_mb, pins_folder=settings.pins_folder
    )
    write_json(json_file, content)
    return 0 if usable else 2


def observe(data: Data = None, accept_rows: AcceptedRows = None) -> int:
    """Register and pin the files without loading them, as the source assets do."""
    from memos_assets.runs import instance as launch

    settings = load_settings()
    catalog, roots = catalog_of(settings), roots_from(data, settings)
    accepted = [Acceptance.parse(argument) for argument in accept_rows or ()]
    files = find_files(catalog, roots)
    _refuse_unusable(files)
    with open_target(settings, "memos_assets:observe") as engine, live_progress():
        _accept(engine, catalog, accepted)
        launch.observe(engine, settings, catalog, roots, files)
    return 0


def consolidate_command(
    data: Data = None,
    json_file: JsonFile = None,
    reload: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--reload", help="Load chunks again that are up to date.")
    ] = False,
    swap: Annotated[  # noqa: FBT002  as above
        bool,
        typer.Option(
            "--swap",
            help="Load every registered source into a shadow, and make it live once it is proven.",
        ),
    ] = False,
    accept_rows: AcceptedRows = None,
) -> int:
    """Make the tables match the files, build the indexes, and prove every row."""
    settings = load_settings()
    catalog, roots = catalog_of(settings), roots_from(data, settings)
    accepted = [Acceptance.parse(argument) for argument in accept_rows or ()]
    retired = _retired_from(roots, settings)
    files = find_files(catalog, roots, none_will_do=retired)
    _refuse_unusable(files, none_will_do=retired)
    with open_target(settings, "memos_assets:consolidate") as engine:
        _accept(engine, catalog, accepted)
        if not reload and not swap:
            results = results_if_unchanged(engine, catalog, files)
            if results is not None:
                return conclude_unchanged(engine, settings, catalog, results, json_file)
        # Dagster takes a second to import, which a run without anything to do need not wait for.
        from memos_assets.runs import instance as launch

        if swap:
            announce_swap(catalog)
        with live_progress():
            done = launch.consolidate(
                engine, settings, catalog, roots, files, reload=reload, swap=swap
            )
        code = conclude(engine, settings, catalog, done, json_file)
        if done.exchange is not None:
            print_exchange(done.exchange, settings)
        return code


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


def report(
    consolidation: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Id of a consolidation; the latest if none is given."),
    ] = None,
) -> int:
    """Print the path of a report. consolidate and verify write one each."""
    folder = reports_folder(load_settings())
    page = find_report(folder, consolidation)
    if page is None:
        raise UsageError(
            "M506",
            "no such report" if consolidation else "no report was written so far",
            where=str(folder / f"{consolidation}.html") if consolidation else str(folder),
            fix="write one: memos-assets verify",
        )
    console.print(str(page), markup=False, soft_wrap=True)
    return 0


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    scale: Annotated[
        Literal["small", "plan"],
        typer.Option(
            "--scale", help="small: a few MB; plan: the sizes that the remediation plan names."
        ),
    ] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same rows.")] = 1,
    factor: Annotated[
        float, typer.Option("--factor", help="Multiply the number of rows, for measurements.")
    ] = 1.0,
) -> int:
    """Write a demo memOS folder with memOS's layouts, encodings and known defects."""
    manifest = write_demo(directory, scale=scale, seed=seed, factor=factor)
    console.print(
        f"Wrote {len(manifest.files)} SQLite files, {manifest.rows:,} rows, "
        f"{size(manifest.bytes)} to {directory}",
        soft_wrap=True,
    )
    return 0
