"""Commands about data: plan, observe, consolidate, verify, demo."""

import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
import sqlalchemy as sa
import typer

from memos_assets.cli.display import (
    checklist_table,
    console,
    errors,
    live_progress,
    reasons_table,
    size,
    tables_table,
)
from memos_assets.cli.plan import print_plan
from memos_assets.consolidate.discover import FoundFile, Root, find_files
from memos_assets.consolidate.observe import register_files
from memos_assets.consolidate.summary import TableSummary, summarise
from memos_assets.defs.consolidation import (
    Consolidation,
    consolidate,
    new_consolidation,
    observe_files,
    verify,
)
from memos_assets.demo import write_demo
from memos_assets.errors import UsageError
from memos_assets.postgres.target import open_target
from memos_assets.settings import Settings, batch_dagster_events, load_settings

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


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("plan")(plan)
    app.command("consolidate")(consolidate_command)
    app.command("verify")(verify_command)
    app.command("observe")(observe)
    app.command("demo")(demo)


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Open the Dagster instance that the UI and the daemon use.

    Raises:
        UsageError: M503 when there is no dagster.yaml.
    """
    home = settings.dagster_home.expanduser().absolute()
    if not (home / "dagster.yaml").is_file():
        raise UsageError(
            "M503",
            "there is no dagster.yaml",
            where=str(home),
            fix="unset DAGSTER_HOME, or point it to the folder of the project's dagster.yaml",
        )
    batch_dagster_events()
    return dg.DagsterInstance.from_config(str(home))


def _roots(data: Sequence[str] | None, settings: Settings) -> list[Root]:
    arguments = list(data or settings.data)
    if not arguments:
        raise UsageError(
            "M520",
            "no folder to search",
            where="--data",
            fix="pass --data DIR, or set MEMOS_DATA",
        )
    return [Root.parse(argument) for argument in arguments]


def _refuse_unusable(files: Sequence[FoundFile]) -> None:
    """Report every unusable file, and stop at the first: nothing is loaded from half a folder."""
    unusable = [file.error for file in files if file.error is not None]
    for error in unusable[1:]:
        errors.print(str(error), style="red", markup=False, soft_wrap=True)
    if unusable:
        raise unusable[0]
    if not any(file.treatment == "consolidate" for file in files):
        raise UsageError(
            "M527",
            "none of the SQLite files is one to consolidate",
            where=", ".join(sorted({str(file.root) for file in files})),
            fix="see what they are: memos-assets plan --data DIR",
        )


def plan(data: Data = None, json_file: JsonFile = None) -> int:
    """Say what was found and what would become of it. Writes nothing and needs no database."""
    files = find_files(_roots(data, load_settings()))
    usable, content = print_plan(files)
    _write_json(json_file, content)
    return 0 if usable else 2


def observe(data: Data = None) -> int:
    """Register and pin the files without loading them, as the source assets do."""
    settings = load_settings()
    files = find_files(_roots(data, settings))
    _refuse_unusable(files)
    engine = open_target(settings, "memos_assets:observe")
    try:
        with open_instance(settings) as instance, live_progress():
            register_files(engine, files)
            observe_files(instance, engine, settings, new_consolidation().id, files)
    finally:
        engine.dispose()
    return 0


def consolidate_command(
    data: Data = None,
    json_file: JsonFile = None,
    reload: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool, typer.Option("--reload", help="Load chunks again that are up to date.")
    ] = False,
) -> int:
    """Bring PostgreSQL to what the files hold now, build indexes, and prove every row."""
    settings = load_settings()
    roots = _roots(data, settings)
    files = find_files(roots)
    _refuse_unusable(files)
    # Some 200,000 objects of imported modules need not be looked at again by the collector.
    gc.freeze()
    engine = open_target(settings, "memos_assets:consolidate")
    try:
        with open_instance(settings) as instance:
            with live_progress():
                done = consolidate(instance, engine, settings, roots, files, reload=reload)
            return _conclude(engine, settings, done, json_file)
    finally:
        engine.dispose()


def verify_command(json_file: JsonFile = None) -> int:
    """Read both sides again and run the whole checklist; nothing is loaded."""
    settings = load_settings()
    engine = open_target(settings, "memos_assets:verify")
    try:
        with open_instance(settings) as instance:
            with live_progress():
                done = verify(instance)
            return _conclude(engine, settings, done, json_file)
    finally:
        engine.dispose()


def demo(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to write.")],
    scale: Annotated[
        Literal["small", "plan"],
        typer.Option("--scale", help="small: a few MB; plan: the sizes memOS's plan names."),
    ] = "small",
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same rows.")] = 1,
    factor: Annotated[
        float, typer.Option("--factor", help="Times as many rows, for measurements.")
    ] = 1.0,
) -> int:
    """Write a demo memOS folder: its layouts, its encodings, its kinds of dirt."""
    manifest = write_demo(directory, scale=scale, seed=seed, factor=factor)
    console.print(
        f"Wrote {len(manifest.files)} SQLite files, {manifest.rows:,} rows, "
        f"{size(manifest.bytes)} to {directory}",
        soft_wrap=True,
    )
    return 0


def _conclude(
    engine: sa.Engine, settings: Settings, done: Consolidation, json_file: Path | None
) -> int:
    with engine.connect() as conn:
        summaries = summarise(conn)
    console.print()
    for table in (
        tables_table(summaries),
        reasons_table(summaries),
        checklist_table(done.checklist),
    ):
        console.print(table)
        console.print()
    for note in done.notes:
        console.print(f"Note: {note}", markup=False, soft_wrap=True)
    for failure in done.failures:
        errors.print(failure, style="red", markup=False, soft_wrap=True)
    _print_verdict(done, summaries, settings)
    _write_json(json_file, _as_json(done, summaries))
    return 0 if done.proven else 1


def _print_verdict(
    done: Consolidation, summaries: Sequence[TableSummary], settings: Settings
) -> None:
    rows = sum(summary.source_rows for summary in summaries)
    loaded = sum(summary.rows for summary in summaries)
    rejected = sum(summary.rejected for summary in summaries)
    proven = sum(outcome.proven for outcome in done.checklist)
    verdict = "[green]Proven[/]" if done.proven else "[red]Not proven[/]"
    console.print(
        f"{verdict}: {proven} of {len(done.checklist)} claims hold. {rows:,} source rows = "
        f"{loaded:,} loaded + {rejected:,} rejected (each with its reason in memos_ops.rejects).",
        soft_wrap=True,
    )
    report = settings.home / "reports" / f"{done.id}.json"
    if report.exists():
        console.print(f"Report: {report}", soft_wrap=True)
    console.print(f"Consolidation {done.id} in the UI: make ui (memos-assets ui)", soft_wrap=True)


def _as_json(done: Consolidation, summaries: Sequence[TableSummary]) -> dict[str, Any]:
    return {
        "consolidation": done.id,
        "proven": done.proven,
        "stale_chunks": done.stale_chunks,
        "runs": done.run_ids,
        "failures": done.failures,
        "tables": [
            {name: getattr(summary, name) for name in summary.__slots__} for summary in summaries
        ],
        "checklist": [
            {
                "check": outcome.claim.label,
                "name": outcome.claim.name,
                "claim": outcome.claim.claim,
                "proven": outcome.proven,
                "passed": outcome.passed,
                "failed": [
                    {"asset": e.asset, "expected": e.expected, "observed": e.observed}
                    for e in outcome.failed
                ],
                "unproven": list(outcome.unproven),
            }
            for outcome in done.checklist
        ],
    }


def _write_json(path: Path | None, content: object) -> None:
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        partial = path.with_name(path.name + ".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UsageError(
            "M504",
            f"cannot be written ({error.strerror})",
            where=str(path),
            fix="pass a file in a folder that exists and may be written: --json FILE",
        ) from error
