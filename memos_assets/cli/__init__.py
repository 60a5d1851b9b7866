"""The terminal's face: commands and their output.

`commands.JOBS` names the commands by job; each is in a module. Exit code 0: proven; 1: failed
or unproven; 2: misuse. Other rooms load, check and search.
"""

import sys

from memos_assets.cli import exit_codes


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit."""
    try:
        # Dagster takes a second or two to import, and Ctrl+C may come in between.
        from memos_assets.cli.main import run

        code = run(arguments)
    except KeyboardInterrupt:
        code = exit_codes.INTERRUPTED
    sys.exit(code)
