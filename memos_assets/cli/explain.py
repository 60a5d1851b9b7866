"""The command explain: print the documentation of an error code, a check or a reason."""

from typing import Annotated

import typer
from rich.markdown import Markdown

from memos_assets.cli.display import console
from memos_assets.cli.manual import section


def explain(
    code: Annotated[
        str, typer.Argument(help="An error (M307), a check (V12) or a reason of rejects.")
    ],
) -> int:
    """Print the documentation of an error code, a check or a reason of rejects."""
    found = section(code)
    if console.is_terminal:
        console.print(Markdown(found.text))
    else:
        console.print(found.text, markup=False, soft_wrap=True)
    return 0
