"""The floor plan: rooms from the ground up, imports that must never be, and the imports there are.

`memos_assets_tests/test_rooms.py` holds the code to it; `picture` and `architecture` show it.
"""

import ast
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "memos_assets"

#: Rooms that any room above may import; they import one another at most.
GROUND = (
    *("errors", "finding", "files", "progress", "asset_names", "clustered_vectors"),
    *("installation", "thread_switches", "freed_memory", "losses", "equal_texts"),
)
#: From the ground up. A room imports rooms before it in this list, and itself.
FLOORS = (
    *GROUND,
    *("settings", "catalog", "check", "sqlite", "session_rules", "postgres", "indexes", "search"),
    # Words and their relations, which the cache's gate and contradictions read texts by.
    "language",
    # A room of its own, because board, memory and synthesis share it.
    "contradictions",
    *("consolidate", "proof", "snapshots", "blackboard", "memory", "cache", "research"),
    *("maintenance", "impact", "checklist", "remediation_plan", "report"),
    *("defs", "definitions", "components", "runs"),
    *("api", "memos_face", "demo", "cli", "__main__"),
)
#: The same within rooms that have rooms of their own.
INNER_FLOORS = {
    "postgres": (
        "storable_text",
        *("schemas", "connection", "driver_errors", "channel", "vector_names", "foreign_content"),
        *("advisory_locks", "upsert", "build_lock", "pools"),
        *("server", "copy", "schema", "shape", "application", "engine", "sessions"),
        *("service_role", "owned_rows", "acting", "user_rows", "policy_states", "forks"),
        *("row_security", "migrations"),
        *("first_write", "backup"),
        *("versions", "target", "dagster_storage", "dagster_state"),
    ),
    "consolidate": ("sources", "decoding", "rejects", "loading", "archive"),
    "proof": ("expected", "channel", "shape", "rows", "search"),
}


@dataclass(frozen=True, slots=True)
class Never:
    """An import that must not be.

    Attributes:
        room: that must not import.
        other: the room, or the package of others.
        why: the reason.
        at_all: not even through other rooms.
    """

    room: str
    other: str
    why: str
    at_all: bool = False


_ANY_LOADER = "search serves data that was loaded in any way"
_SERVICE = "a service of an agent server that has no Dagster"
NEVER = (
    Never("search", "memos_assets.consolidate", _ANY_LOADER, at_all=True),
    Never("indexes", "memos_assets.consolidate", _ANY_LOADER, at_all=True),
    Never(
        "proof.expected",
        "memos_assets.consolidate",
        "a mistake made twice by one function proves nothing",
        at_all=True,
    ),
    Never("proof", "memos_assets.consolidate.decoding", "the proof decodes for itself"),
    Never(
        "search",
        "memos_assets.contradictions",
        "search ranks what is stored; whether it agrees is decided by who asks",
        at_all=True,
    ),
    Never("session_rules", "dagster", "the command reads sources where no Dagster is"),
    Never("memory", "dagster", _SERVICE),
    Never("cache", "dagster", _SERVICE),
    Never("blackboard", "dagster", _SERVICE),
    Never("contradictions", "dagster", _SERVICE),
    Never("contradictions", "sqlalchemy", "it is pure: texts in, records out"),
    Never("snapshots", "dagster", _SERVICE),
    Never("research", "dagster", _SERVICE),
)
#: Rooms -> rooms of ours that may import them, beside themselves.
LEAVES = {"demo": ("cli",), "api": (), "cli": ("__main__",), "memos_face": ()}


def in_room(module: str, room: str) -> bool:
    """Whether a module is a room or within it; both by their dotted names."""
    return module == room or module.startswith(f"{room}.")


def room_of(module: str) -> str | None:
    """Return the room that a module is in; None for the package itself and for foreign ones."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if package == PACKAGE else None


@cache
def modules() -> Mapping[str, Path]:
    """Return dotted name -> file of every module of the package."""
    paths = sorted((ROOT / PACKAGE).rglob("*.py"))
    dotted = (path.relative_to(ROOT).with_suffix("") for path in paths)
    names = (".".join(path.parts).removesuffix(".__init__") for path in dotted)
    return dict(zip(names, paths, strict=True))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text("utf-8"))


def docstring(module: str) -> str:
    """Return the docstring of a module, "" if it has none."""
    return ast.get_docstring(_tree(module)) or ""


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return every module that a module of ours imports, wherever it does so."""
    found: set[str] = set()
    for node in ast.walk(_tree(module)):
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
            yield f"{module} is not in a room of FLOORS"
            continue
        for imported in imports_of(module):
            if not in_room(imported, above) or imported == above:
                continue
            other = imported.split(".")[depth]
            if other in floors and floors.index(other) > floors.index(room):
                yield f"{module} imports {imported}"


def rooms() -> list[str]:
    """Return the rooms that exist, from the ground up; `__main__` only starts the command."""
    found = {room_of(module) for module in modules()}
    return [room for room in FLOORS if room in found and not room.startswith("_")]


def files_in(room: str) -> int:
    """Count the modules of a room."""
    return sum(in_room(module, f"{PACKAGE}.{room}") for module in modules())


def inner_rooms(room: str) -> list[str]:
    """Return the packages within a room, in the order of its floors where it has some."""
    folder = ROOT / PACKAGE / room
    names = sorted(path.parent.name for path in folder.glob("*/__init__.py"))
    order = INNER_FLOORS.get(room, ())
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def arrows() -> Counter[tuple[str, str]]:
    """Count the imports from room to room."""
    known = set(rooms())
    counted: Counter[tuple[str, str]] = Counter()
    for module in modules():
        for imported in imports_of(module):
            room, other = room_of(module), room_of(imported)
            if room and other and room != other and {room, other} <= known:
                counted[room, other] += 1
    return counted


def carrying() -> list[str]:
    """Return the ground as it is: rooms that import at most it, and that most rooms may import."""
    pairs = arrows().keys()
    most = len(rooms()) / 3
    return [
        room
        for room in rooms()
        if {other for one, other in pairs if one == room} <= set(GROUND)
        and (room in GROUND or sum(other == room for _, other in pairs) > most)
    ]


def thinned(pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out arrows that follow from others: of a -> b -> c and a -> c, the last one."""
    below: dict[str, set[str]] = {}
    for room, other in pairs:
        below.setdefault(room, set()).add(other)

    @cache
    def reach(room: str) -> frozenset[str]:
        near = below.get(room, set())
        return frozenset(near.union(*(reach(other) for other in near)))

    return {
        (room, other)
        for room, near in below.items()
        for other in near
        if not any(other in reach(between) for between in near - {other})
    }
