"""The floor plan: a room imports only rooms below it, and some rooms never at all."""

import ast
from pathlib import Path

import pytest

from memos_assets_tests.conftest import BESIDE_THE_ROOMS, TESTS
from tools.floor_plan import (
    FLOORS,
    INNER_FLOORS,
    LEAVES,
    NEVER,
    PACKAGE,
    Never,
    arrows_up,
    imports_of,
    in_room,
    modules,
    reached_from,
)


def test_a_room_imports_only_rooms_below_it() -> None:
    assert list(arrows_up(FLOORS, PACKAGE)) == []


@pytest.mark.parametrize("room", INNER_FLOORS)
def test_so_does_a_room_within_a_room(room: str) -> None:
    assert list(arrows_up(INNER_FLOORS[room], f"{PACKAGE}.{room}")) == []


def test_modules_of_one_room_do_not_import_each_other_in_circles() -> None:
    circles = [name for name in modules() if name in reached_from(name)]
    assert circles == []


@pytest.mark.parametrize("rule", NEVER, ids=lambda rule: f"{rule.room}-{rule.other}")
def test_what_a_room_must_not_import_it_does_not(rule: Never) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if in_room(module, f"{PACKAGE}.{rule.room}")
        for other in imports_of(module) | (reached_from(module) if rule.at_all else set())
        if in_room(other, rule.other)
    ]
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_are_imported_by_nothing(leaf: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if not any(in_room(module, f"{PACKAGE}.{room}") for room in (leaf, *LEAVES[leaf]))
        for other in imports_of(module)
        if in_room(other, f"{PACKAGE}.{leaf}")
    ]
    assert wrong == []


def test_each_folder_of_tests_is_a_room_or_is_about_a_program_beside_the_package() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")} - {Path()}
    rooms = {Path(*name.split(".")[1:]) for name in modules()}
    wrong = [folder for folder in folders - rooms if folder.parts[0] not in BESIDE_THE_ROOMS]
    assert wrong == []


def test_what_runs_the_definitions_is_tested_in_a_room_above_them() -> None:
    """A test may use what is above its room; a whole run in it belongs to `runs` or `cli`."""
    above = ("defs", "runs", "cli", *BESIDE_THE_ROOMS)
    wrong = [
        str(path.relative_to(TESTS))
        for path in TESTS.glob("*/**/*.py")  # those beside the folders are about the whole project
        if path.relative_to(TESTS).parts[0] not in above
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and in_room(str(node.module), f"{PACKAGE}.runs")
    ]
    assert wrong == []
