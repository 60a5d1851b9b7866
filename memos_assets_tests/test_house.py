"""The rules of the house that no other tool checks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from memos_assets.checklist import CHECKLIST
from memos_assets.consolidate.decoding.reject_reasons import EMBEDDING_REASONS, REJECT_REASONS
from memos_assets.settings import PROJECT_ROOT

PACKAGE = PROJECT_ROOT / "memos_assets"
TESTS = PROJECT_ROOT / "memos_assets_tests"
MODULES = sorted([*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py")])
#: Rooms that know nothing of Dagster, and the one module that is Dagster's storage.
ROOMS = (
    *("catalog", "consolidate", "postgres", "search", "language", "contradictions", "memory"),
    *("report", "demo"),
)
STORAGE = "memos_assets.postgres.dagster_storage"
MOST_LINES = 420
#: Codes of M7xx that commands raise, not calls of agents.
COMMANDS_OF_MEMORY = dict.fromkeys(("M780", "M783", "M794", "M795", "M826"), ("UsageError",))


def relative(path: Path) -> str:
    return path.relative_to(PROJECT_ROOT).as_posix()


def dotted(path: Path) -> str:
    return relative(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@pytest.mark.parametrize("name", CHECKLIST.by_name)
def test_every_check_has_a_test_that_turns_it_red(name: str) -> None:
    pattern = re.compile(rf"^def test_{name}_fails", re.MULTILINE)
    assert any(pattern.search(path.read_text("utf-8")) for path in TESTS.rglob("test_*.py"))


def test_the_rooms_work_without_dagster() -> None:
    modules = [
        name
        for room in ROOMS
        for path in sorted((PACKAGE / room).rglob("*.py"))
        if (name := dotted(path)) != STORAGE
    ]
    assert len(modules) > 40
    script = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'dagster'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout == "[]\n"


def test_no_module_is_too_long_to_be_read() -> None:
    # A catalog entry per table is a list, not a program.
    listed = {"memos_assets/catalog/kinds.py"}
    long = {
        relative(path): count
        for path in MODULES
        if (count := len(path.read_text("utf-8").splitlines())) > MOST_LINES
    }
    assert set(long) <= listed


def test_the_environment_is_read_in_one_place() -> None:
    pattern = re.compile(r"\bos\.(environ|getenv)\b|\bfrom os import .*\b(environ|getenv)\b")
    readers = [relative(p) for p in PACKAGE.rglob("*.py") if pattern.search(p.read_text("utf-8"))]
    assert set(readers) <= {"memos_assets/settings/environment.py"}


def test_asset_modules_do_not_postpone_annotations() -> None:
    # Dagster reads annotations when an asset is defined, and fails on strings.
    postponed = [
        relative(path)
        for path in (PACKAGE / "defs").rglob("*.py")
        if "from __future__ import annotations" in path.read_text("utf-8")
    ]
    assert postponed == []


def test_every_error_code_is_raised_with_one_meaning() -> None:
    raised: dict[str, set[str]] = {}
    pattern = re.compile(r'(\w+Error)\(\s*"(M\d{3})"')
    for path in PACKAGE.rglob("*.py"):
        for kind, code in pattern.findall(path.read_text("utf-8")):
            raised.setdefault(code, set()).add(kind)
    areas = {"1": "SourceError", "2": "CodecError", "3": "TargetError", "5": "UsageError"}
    areas |= {"6": "ServerError", "7": "AgentError", "8": "SnapshotError", "9": "AgentError"}
    wrong = {
        code: kinds
        for code, kinds in raised.items()
        if not kinds <= {areas[code[1]], "MemosAssetsError", *COMMANDS_OF_MEMORY.get(code, ())}
    }
    assert wrong == {}


def test_every_error_code_is_in_the_docs_and_every_documented_one_is_raised() -> None:
    text = (PROJECT_ROOT / "docs" / "errors.md").read_text("utf-8")
    documented = re.findall(r"^### (M\d{3})$", text, re.MULTILINE)
    code = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    raised = set(re.findall(r'[f"](M[1-9]\d\d)[" ]', code))
    assert documented == sorted(set(documented))
    assert set(documented) == raised


def test_every_reason_is_in_the_docs() -> None:
    text = (PROJECT_ROOT / "docs" / "checklist.md").read_text("utf-8")
    for reason, meaning in {**REJECT_REASONS, **EMBEDDING_REASONS}.items():
        assert f"| `{reason}` | {meaning} |" in text
