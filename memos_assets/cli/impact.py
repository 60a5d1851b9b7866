"""The command impact: measure the effect of an index on this machine."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from memos_assets.catalog import MEMOS
from memos_assets.cli.display import console, live_progress, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.errors import UsageError
from memos_assets.impact.measure import (
    DEFAULT_DIMENSION,
    DEFAULT_ROWS,
    Impact,
    disk_needed,
    measure_impact,
)
from memos_assets.postgres.target import free_bytes, open_consolidated
from memos_assets.report.formatting import seconds, size
from memos_assets.report.impact import in_words, records
from memos_assets.settings import load_settings


def impact(
    rows: Annotated[
        str, typer.Option("--rows", metavar="N,N,...", help="Row counts to measure.")
    ] = ",".join(map(str, DEFAULT_ROWS)),
    dimension: Annotated[
        int, typer.Option("--dimension", help="Elements per embedding.")
    ] = DEFAULT_DIMENSION,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the numbers as JSON, too.")
    ] = None,
) -> int:
    """Compare exact scans with the index on generated rows, in a schema that is dropped again."""
    settings = load_settings()
    counts = _counts(rows)
    needed = size(disk_needed(MEMOS, counts, dimension))
    console.print(
        f"Up to {needed} of disk space are used, one table after the other, and freed again."
    )
    with open_consolidated(settings, "memos_assets:impact") as engine, live_progress():
        measured = measure_impact(
            engine, MEMOS, rows=counts, dimension=dimension, free_bytes=free_bytes(settings)
        )
    console.print(_table(measured))
    for sentence in in_words(measured):
        console.print(sentence, markup=False)
    write_json(
        json_file,
        {
            "dimension": measured.dimension,
            "strategy": measured.strategy,
            "measured": records(measured),
            "summary": in_words(measured),
        },
    )
    return 0


def _counts(rows: str) -> list[int]:
    try:
        return [int(part.strip().replace("_", "")) for part in rows.split(",") if part.strip()]
    except ValueError:
        raise UsageError(
            "M585",
            f"{rows!r} is not a list of row counts",
            where="--rows",
            fix="pass whole numbers with commas between, such as --rows 1000,10000",
        ) from None


def _table(measured: Impact) -> Table:
    """Return the numbers, a block per row count."""
    table = titled_table(f"Top 10 of {measured.dimension:,} elements; index: {measured.strategy}")
    table.add_column("rows", justify="right")
    table.add_column("way", no_wrap=True)
    for name in ("p50 ms", "p95 ms", "x faster", "recall", "worst"):
        table.add_column(name, justify="right")
    table.add_column("by")
    for name in ("load or build", "table", "index"):
        table.add_column(name, justify="right")
    for rows in measured.row_counts:
        for one in measured.measured:
            if one.rows == rows:
                table.add_row(
                    f"{rows:,}",
                    one.way,
                    f"{one.timing.p50_ms:.2f}",
                    f"{one.timing.p95_ms:.2f}",
                    f"{measured.ratio(one):,.1f}",
                    f"{one.timing.recall:.3f}",
                    f"{one.timing.worst_recall:.1f}",
                    "index" if one.served_by.endswith("_hnsw") else one.served_by,
                    seconds(one.prepared_seconds),
                    size(one.sizes.rows + one.sizes.toast),
                    size(one.sizes.indexes),
                )
        table.add_section()
    return table
