"""Private parts of Dagster are used in one place, which was read in the version that is pinned."""

import ast
import re

from memos_assets.defs.dagster_internals import READ_IN
from tools import floor_plan as plan

INTERNALS = "memos_assets.defs.dagster_internals"
#: The class that dagster.yaml names as the instance's storage. It implements an interface of
#: Dagster that is private as a whole, and is loaded by processes that know no definitions, so it
#: cannot be in `defs`.
STORAGE = "memos_assets.postgres.dagster_storage"


def private_names(module: str) -> set[str]:
    """Return what a module imports of Dagster by a name with a part that begins with "_"."""
    imported = set(plan.imports_of(module))
    for node in ast.walk(ast.parse(plan.modules()[module].read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            imported.add(f"{'dagster' if node.value.id == 'dg' else node.value.id}.{node.attr}")
    return {
        name
        for name in imported
        if name.partition(".")[0].startswith("dagster") and re.search(r"\._(?!_)", name) is not None
    }


def test_private_modules_of_dagster_are_imported_in_one_place() -> None:
    private = {module for module in plan.modules() if private_names(module)}
    assert private == {INTERNALS, STORAGE}


def test_storages_of_the_instance_are_reached_in_one_place() -> None:
    reaching = {
        module
        for module, path in plan.modules().items()
        if ".event_log_storage" in path.read_text("utf-8")
    }
    assert reaching == {INTERNALS, STORAGE}


def test_the_private_parts_were_read_in_the_version_that_is_pinned() -> None:
    pinned = (plan.ROOT / "constraints.txt").read_text("utf-8")
    assert f"dagster=={READ_IN}\n" in pinned


def test_each_private_part_says_when_it_may_go() -> None:
    text = plan.modules()[INTERNALS].read_text("utf-8")
    assert text.count("May go when") + text.count("May go\n# when") == len(
        re.findall(r"^from dagster\._|^def ", text, re.MULTILINE)
    )
