"""Write docs/architecture.md and its picture from the imports and from the rooms' docstrings.

Run by `make picture`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tools import floor_plan as plan
from tools.picture import svg
from tools.ways import QUERY, ROW, Station

PICTURE = Path("docs/architecture.svg")
PAGE = Path("docs/architecture.md")

_HEAD = """\
# Architecture

<!-- Written by `make picture` from the imports and the docstrings of the rooms. -->

![The rooms, what imports what, and the ways of a row and of a query](architecture.svg)

A room is a package, or a module at the top of `memos_assets`. It imports only rooms below it; no
imports run in a circle. The order is in `tools/floor_plan.py`, and
`memos_assets_tests/test_rooms.py`
holds the code to it. Rooms below `defs` are plain Python libraries that know no Dagster.
"""


def _shown(station: Station) -> str:
    return f"`{station.at}`" if station.at.startswith(plan.PACKAGE) else station.at


def _way(title: str, stations: Sequence[Station]) -> Iterator[str]:
    yield f"\n## {title}\n"
    yield "| | step | where | |"
    yield "|---|---|---|---|"
    for station in stations:
        yield f"| {station.mark} | {station.name} | {_shown(station)} | {station.about} |"


def _prose(text: str) -> str:
    """Return the paragraphs of a docstring on one line, without its drawings."""
    paragraphs = [part for part in text.split("\n\n") if "\n " not in part]
    return " ".join(" ".join(paragraphs).split()).replace("|", "\\|")


def _rooms() -> Iterator[str]:
    yield "\n## Rooms\n"
    yield "From the top down. Each says what belongs there, and most say what does not.\n"
    yield "| room | files | what it is for | imports |"
    yield "|---|---|---|---|"
    counted = plan.arrows()
    order = {room: number for number, room in enumerate(plan.FLOORS)}
    for room in reversed(plan.rooms()):
        about = _prose(plan.docstring(f"{plan.PACKAGE}.{room}"))
        others = [other for one, other in counted if one == room and other not in plan.GROUND]
        listed = ", ".join(sorted(others, key=order.__getitem__, reverse=True))
        yield f"| `{room}` | {plan.files_in(room)} | {about} | {listed} |"
    ground = ", ".join(f"`{room}`" for room in plan.GROUND)
    yield f"\nAny room may import {ground}; the last column leaves them out."


def _never() -> Iterator[str]:
    yield "\n## Never\n"
    for rule in plan.NEVER:
        other = rule.other.removeprefix(f"{plan.PACKAGE}.")
        also = ", not even through other rooms" if rule.at_all else ""
        yield f"- `{rule.room}` never imports `{other}`{also}: {rule.why}."
    for leaf, users in plan.LEAVES.items():
        named = ", ".join(f"`{user}`" for user in users)
        yield f"- {f'Only {named}' if users else 'No room'} imports `{leaf}`."


def page() -> str:
    """Return docs/architecture.md."""
    return "\n".join(
        [
            _HEAD.rstrip("\n"),
            *_way("The way of a row", ROW),
            *_way("The way of a query", QUERY),
            *_rooms(),
            *_never(),
            "",
        ]
    )


def written() -> Mapping[Path, str]:
    """Return path below the project -> content of what is made here."""
    return {PICTURE: svg(), PAGE: page()}


if __name__ == "__main__":
    for path, content in written().items():
        (plan.ROOT / path).write_text(content, encoding="utf-8")
