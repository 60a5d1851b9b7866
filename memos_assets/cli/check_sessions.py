"""The command check-sessions: services that make, end or share sessions, in their sources."""

from pathlib import Path
from typing import Annotated

import typer

from memos_assets.cli.display import console, errors
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.report.formatting import plural
from memos_assets.session_rules.check import Checked, check_paths


def check_sessions(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Python files, and folders of them.")
    ],
    makes_sessions: Annotated[
        list[str] | None,
        typer.Option(
            "--makes-sessions",
            metavar="PATTERN",
            help="A file that may make sessions, as core/database.py or scripts/*.",
        ),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Find services that make sessions, end those of their callers, or share one between tasks.

    Nothing is imported or run. A place that is right says so in a comment:
    `# session-rule: S001 because REASON`. Exit code 1 if a place is found, or a file cannot be
    checked.
    """
    checked = check_paths(paths, makes_sessions or ())
    # Beside JSON on standard output, lines for people are on standard error.
    out = errors if str(json_file) == "-" else console
    for line in (*checked.violations, *checked.not_read):
        out.print(str(line), markup=False, soft_wrap=True)
    out.print(_sum(checked), markup=False, soft_wrap=True)
    write_json(json_file, checked.to_json())
    return 0 if checked.clean else 1


def _sum(checked: Checked) -> str:
    broken = [f"{rule} {count:,}" for rule, count in checked.by_rule().items() if count]
    places = len(checked.violations)
    found = f"{plural(places, 'place')} ({', '.join(broken)})" if broken else "every rule is kept"
    allowed = f"; {len(checked.suppressed):,} allowed by comments" if checked.suppressed else ""
    unread = f"; {len(checked.not_read):,} not checked" if checked.not_read else ""
    return f"{plural(checked.files, 'file')} checked: {found}{allowed}{unread}."
