"""The command plan, a dry run: files, forecasts of their tables, rejects, index strategies."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from memos_assets.cli import verbosity
from memos_assets.cli.catalog import catalog_of
from memos_assets.cli.display import console, print_error, titled_table
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
from memos_assets.cli.outcome_tables import reasons_table, tables_table
from memos_assets.cli.plan_indexes import PlannedIndex, indexes_note, indexes_table, plan_indexes
from memos_assets.consolidate.loading.dry_run import (
    TableForecast,
    as_summary,
    chunk_count,
    forecast_file,
)
from memos_assets.consolidate.loading.summary import integral_note
from memos_assets.consolidate.sources.discover import FoundFile, find_files
from memos_assets.consolidate.sources.shrinkage import Shrunken, last_pinned, shrunken
from memos_assets.losses import Loss, by_table, sentence
from memos_assets.report.formatting import size
from memos_assets.settings import load_settings


def plan(
    data: Data = None,
    json_file: JsonFile = None,
    include: Include = None,
    exclude: Exclude = None,
    skip_unreadable: SkipUnreadable = False,  # noqa: FBT002  it is a flag at the terminal
) -> int:
    """List the files and forecast a consolidation. Writes nothing and needs no database."""
    settings = load_settings()
    catalog = catalog_of(settings)
    choice = choice_from(include, exclude, skip_unreadable=skip_unreadable)
    files = find_files(catalog, roots_from(data, settings), choice=choice)
    usable, content = print_plan(
        files, budget_mb=settings.maintenance_work_mem_mb, pins_folder=settings.pins_folder
    )
    write_json(json_file, content)
    return 0 if usable else 2


def print_plan(
    files: Sequence[FoundFile], *, budget_mb: int, pins_folder: Path
) -> tuple[bool, Mapping[str, object]]:
    """Print a dry run; return whether every file is usable, and the content for ``--json``.

    Args:
        files: the files that were found.
        budget_mb: memory that index builds may take together.
        pins_folder: of earlier pins, by which lost rows are noticed.
    """
    forecasts = [
        forecast
        for file in files
        if file.treatment == "consolidate"
        for forecast in forecast_file(file)
    ]
    indexes = plan_indexes(forecasts, budget_mb)
    rows = sum(forecast.rows for forecast in forecasts)
    loaded = sum(forecast.loaded for forecast in forecasts)
    console.print(
        f"{rows:,} rows: {loaded:,} would be loaded, {rows - loaded:,} rejected with a reason. "
        "Nothing was written.",
        soft_wrap=True,
    )
    for line in _about_losses([loss for forecast in forecasts for loss in forecast.losses]):
        console.print(line, markup=False, soft_wrap=True)
    lost = [table for file in files for table in _shrunken(file, pins_folder)]
    for shrunk in lost:
        console.print(
            f"Note: {shrunk.source}: {shrunk}. consolidate refuses that unless you pass "
            f"{shrunk.acceptance}",
            markup=False,
            soft_wrap=True,
        )
    unusable = [file for file in files if file.error is not None]
    for file in unusable:
        print_error(str(file.error))
    if not verbosity.is_quiet():
        _print_details(files, forecasts, indexes, budget_mb)
    return not unusable, {
        "files": [
            {
                "source": file.source,
                "path": str(file.path),
                "kind": file.kind.name if file.kind else None,
                "treatment": file.treatment,
                "why": file.why,
                "tables": dict(file.tables),
                "error": str(file.error) if file.error else None,
            }
            for file in files
        ],
        "tables": [
            {
                "source": forecast.source,
                "table": forecast.spec.qualified,
                "rows": forecast.rows,
                "loaded": forecast.loaded,
                "mirrored": forecast.mirrored,
                "rejects": dict(forecast.rejects),
                "null_embeddings": dict(forecast.null_embeddings),
                "reals_read_as_integers": dict(forecast.integral_reals),
                "losses": [
                    {
                        "column": loss.column or None,
                        "reason": loss.reason,
                        "count": loss.count,
                        "of": loss.of,
                        "is_fact": loss.is_fact,
                        "needs_decision": loss.takes_much,
                    }
                    for loss in forecast.losses
                ],
                "strategies": [
                    {"dimension": dimension, "embeddings": count, "strategy": strategy}
                    for dimension, count, strategy in forecast.strategies()
                ],
            }
            for forecast in forecasts
        ],
        "indexes": [index.as_json() for index in indexes],
        "lost": [asdict(table) for table in lost],
    }


def _print_details(
    files: Sequence[FoundFile],
    forecasts: Sequence[TableForecast],
    indexes: Sequence[PlannedIndex],
    budget_mb: int,
) -> None:
    """Print the files; with -v rows, reasons and indexes of their tables, too."""
    console.print()
    console.print(_files_table(files))
    if not verbosity.is_verbose():
        console.print("-v lists rows of tables, reasons and indexes, too.")
        return
    summaries = [as_summary(forecast) for forecast in forecasts]
    for table in (tables_table(summaries), reasons_table(summaries), indexes_table(indexes)):
        console.print()
        console.print(table)
    console.print(indexes_note(indexes, budget_mb), soft_wrap=True)
    for forecast in forecasts:
        if note := integral_note(forecast.spec, forecast.integral_reals):
            console.print(f"{forecast.source}: {note}", markup=False, soft_wrap=True)


def _about_losses(found: Sequence[Loss]) -> Iterator[str]:
    """Yield what would turn V30 red, and the share of every loss by table."""
    for loss in found:
        if loss.takes_much:
            yield (
                f"Not proven until somebody decides on it (V30): {loss.source}, {loss.table}: "
                f"{loss}. It may be our reading of the file: look at it first."
            )
    if summed := sentence(by_table(found), "Would be lost by table"):
        yield summed


def _shrunken(file: FoundFile, pins_folder: Path) -> list[Shrunken]:
    if file.treatment != "consolidate" or file.kind is None:
        return []
    former = last_pinned(pins_folder, file.source, file.kind)
    return shrunken(file.source, file.kind, former, file.tables) if former else []


def _files_table(files: Sequence[FoundFile]) -> Table:
    table = titled_table("Files")
    table.add_column("file", no_wrap=True)
    table.add_column("size", justify="right")
    table.add_column("action")
    table.add_column("what it is")
    words = {
        "consolidate": "consolidate",
        "keep": "keep in place",
        "list": "leave alone",
        "unusable": "refuse",
    }
    for file in files:
        about = file.why
        if file.treatment == "consolidate" and file.kind is not None:
            chunk_rows, chunks = chunk_count(file)
            cut = f"{chunks} chunk{'s' if chunks > 1 else ''} of {chunk_rows:,} rowids"
            name = "" if file.source == file.kind.name else f" as source {file.source}"
            about = f"{file.kind.name}{name}, {cut}"
            if not file.kind.is_usual_name(file.path.name):
                about += "; recognised by its tables, not its name"
        shown = file.path.relative_to(file.root) if file.root.is_dir() else file.path
        table.add_row(escape(str(shown)), size(file.bytes), words[file.treatment], escape(about))
    return table
