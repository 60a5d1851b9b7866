"""Sources whose lines say which rules they break: ``#! S001``."""

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from memos_assets.session_rules.check import Checked, check_paths

_MARK = re.compile(r"#!((?:\s+S\d{3})+)")


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write sources below a folder; return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), "utf-8")
    return folder


def marked(folder: Path) -> list[tuple[str, int, str]]:
    """Return (file, line, rule) of every mark below a folder."""
    return sorted(
        (str(path), number, rule)
        for path in folder.rglob("*.py")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        for match in _MARK.finditer(line)
        for rule in match[1].split()
    )


def found(checked: Checked) -> list[tuple[str, int, str]]:
    """Return (file, line, rule) of every violation."""
    return sorted((one.path, one.line, one.rule) for one in checked.violations)


def check(folder: Path, files: Mapping[str, str], **options: list[str]) -> Checked:
    """Write sources and check them; what is found has to be what is marked."""
    checked = check_paths([write(folder, files)], **options)
    assert found(checked) == marked(folder)
    return checked
