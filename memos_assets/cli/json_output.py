"""JSON of commands: the outcome in a file, or alone on standard output; errors, too."""

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from memos_assets.errors import MemosAssetsError, UsageError
from memos_assets.files import write_whole

_OPTION, _STANDARD_OUTPUT = "--json", "-"


def is_wanted_of(arguments: Sequence[str]) -> bool:
    """Whether arguments ask for JSON on standard output, well-formed as they may not be."""
    given = (_OPTION, _STANDARD_OUTPUT)
    return f"{_OPTION}=-" in arguments or given in pairwise(arguments)


def write_json(path: Path | None, content: object) -> None:
    """Write JSON to the path of ``--json``: a file, or standard output (``-``); nothing for None.

    Raises:
        UsageError: M504 when the file cannot be written.
    """
    if path is None:
        return
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == _STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        write_whole(path, text)
    except OSError as error:
        raise UsageError(
            "M504",
            f"cannot be written ({error.strerror})",
            where=str(path),
            fix="pass a file in a folder that exists and may be written: --json FILE",
        ) from error


def write_errors(errors: Sequence[MemosAssetsError]) -> None:
    """Write errors as JSON to standard output, in place of the outcome; ``error`` is the first."""
    parts = [
        {"code": one.code, "object": one.where, "what": one.what, "fix": one.fix} for one in errors
    ]
    sys.stdout.write(json.dumps({"error": parts[0], "errors": parts}, indent=2) + "\n")
