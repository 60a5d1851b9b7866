"""The command explain: print the documentation of an error code, a check or a reason."""

from typing import Annotated

import typer
from rich.markdown import Markdown
from rich.text import Text

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
        for line in console.render_lines(Markdown(found.text), pad=False):
            shown = Text.assemble(*((part.text, part.style or "") for part in line))
            # Rich fills lines up with blanks.
            shown.rstrip()
            console.print(shown, soft_wrap=True, no_wrap=True)
    else:
        console.print(found.text, markup=False, soft_wrap=True)
    return 0
