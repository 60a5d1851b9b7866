"""The floor plan: a room imports only rooms below it, and some rooms never at all."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.conftest import BESIDE_THE_ROOMS, TESTS

PACKAGE = "memos_assets"

#: From the ground up. A room imports rooms before it in this list, and itself.
FLOORS = (
    *("errors", "finding", "files", "progress", "asset_names", "clustered_vectors"),
    *("settings", "catalog", "checklist", "sqlite", "postgres", "indexes", "search"),
    *("consolidate", "proof", "snapshots", "blackboard", "memory", "cache", "research"),
    *("maintenance", "impact", "report", "defs", "definitions", "components", "runs"),
    *("api", "memos_face", "demo", "cli"),
)
#: The same within rooms that have rooms of their own.
INNER_FLOORS = {
    "postgres": (
        *("connection", "build_lock", "server", "copy", "schema", "application"),
        *("engine", "migrations", "backup", "versions", "target", "dagster_storage"),
    ),
    "consolidate": ("sources", "decoding", "rejects", "loading", "archive"),
    "proof": ("expected", "rows", "search"),
}
#: Rooms -> rooms that they must not reach, not even through others.
NEVER_REACHED = {
    "memos_assets.proof.expected": ("memos_assets.consolidate",),
    "memos_assets.search": ("memos_assets.consolidate",),
    "memos_assets.indexes": ("memos_assets.consolidate",),
}
#: Rooms -> rooms that they must not import.
NEVER_IMPORTED = {
    "memos_assets.proof": ("memos_assets.consolidate.decoding",),
    "memos_assets.memory": ("dagster",),
    "memos_assets.cache": ("dagster",),
    "memos_assets.blackboard": ("dagster",),
    "memos_assets.snapshots": ("dagster",),
}
#: Imported by nothing of ours but the rooms named.
LEAVES = {
    "memos_assets.demo": ("memos_assets.demo", "memos_assets.cli"),
    "memos_assets.api": ("memos_assets.api",),
    "memos_assets.cli": ("memos_assets.cli",),
    "memos_assets.memos_face": ("memos_assets.memos_face",),
}


def in_room(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@cache
def modules() -> dict[str, Path]:
    paths = sorted((PROJECT_ROOT / PACKAGE).rglob("*.py"))
    dotted = (path.relative_to(PROJECT_ROOT).with_suffix("") for path in paths)
    names = (".".join(path.parts).removesuffix(".__init__") for path in dotted)
    return dict(zip(names, paths, strict=True))


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return every module that a module of ours imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(modules()[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in modules() else node.module)
    return frozenset(found)


@cache
def reached_from(module: str) -> frozenset[str]:
    """Return every module of ours that importing a module brings in."""
    reached: set[str] = set()
    waiting = [module]
    while waiting:
        for name in imports_of(waiting.pop()) & modules().keys():
            if name not in reached:
                reached.add(name)
                waiting.append(name)
    return frozenset(reached)


def arrows_up(floors: tuple[str, ...], above: str) -> Iterator[str]:
    """Yield what is imported from a higher floor, and rooms that have no floor."""
    depth = above.count(".") + 1
    for module in modules():
        if not in_room(module, above) or module == above:
            continue
        room = module.split(".")[depth]
        if room not in floors:
            yield f"{module} is in no room of the plan"
            continue
        for imported in imports_of(module):
            if not in_room(imported, above) or imported == above:
                continue
            other = imported.split(".")[depth]
            if other in floors and floors.index(other) > floors.index(room):
                yield f"{module} imports {imported}"


def test_a_room_imports_only_rooms_below_it() -> None:
    assert list(arrows_up(FLOORS, PACKAGE)) == []


@pytest.mark.parametrize("room", INNER_FLOORS)
def test_so_does_a_room_within_a_room(room: str) -> None:
    assert list(arrows_up(INNER_FLOORS[room], f"{PACKAGE}.{room}")) == []


def test_modules_of_one_room_do_not_import_each_other_in_circles() -> None:
    circles = [name for name in modules() if name in reached_from(name)]
    assert circles == []


def test_what_a_room_must_not_reach_it_does_not() -> None:
    wrong = [
        f"{module} reaches {other}"
        for room, forbidden in NEVER_REACHED.items()
        for module in modules()
        if in_room(module, room)
        for other in reached_from(module)
        if any(in_room(other, one) for one in forbidden)
    ]
    assert wrong == []


def test_what_a_room_must_not_import_it_does_not() -> None:
    wrong = [
        f"{module} imports {other}"
        for room, forbidden in NEVER_IMPORTED.items()
        for module in modules()
        if in_room(module, room)
        for other in imports_of(module)
        if any(in_room(other, one) for one in forbidden)
    ]
    assert wrong == []


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_are_imported_by_nothing(leaf: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module in modules()
        if not any(in_room(module, room) for room in LEAVES[leaf])
        for other in imports_of(module)
        if in_room(other, leaf)
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
