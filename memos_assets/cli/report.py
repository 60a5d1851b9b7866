"""The command report: the path of a page that consolidate or verify wrote."""

from typing import Annotated

import typer

from memos_assets.cli.display import console
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.errors import UsageError
from memos_assets.report.render import find_report, reports_folder
from memos_assets.settings import load_settings


def report(
    consolidation: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Id of a consolidation; the latest if none is given."),
    ] = None,
    json_file: JsonFile = None,
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
    console.print(str(page), markup=False, soft_wrap=True, no_wrap=True)
    write_json(json_file, {"report": str(page), "content": str(page.with_suffix(".json"))})
    return 0
