"""The command demo: write a memOS folder to try everything on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from memos_assets.cli.display import console
from memos_assets.demo import write_demo
from memos_assets.report.formatting import size


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
