"""Where rooms stand in the picture: floors from the imports, places within a floor from hints."""

import textwrap
from dataclasses import dataclass, field

from tools import floor_plan as plan
from tools.ways import EVERY_STATION, Station

WIDTH = 1200
#: Between these the house stands; files and PostgreSQL are beside it.
LEFT, RIGHT = 170.0, 1000.0
TOP, BETWEEN = 26.0, 40.0
TITLE, LINE, CHIP = 28.0, 16.0, 26.0
#: Height of the slab that carries the rooms.
GROUND = 118.0
#: Left edge (0) to right edge (1) of its floor; a room without a hint is in the middle.
HINTS = {
    "sqlite": 0.0,
    "consolidate": 0.0,
    "proof": 0.0,
    "postgres": 0.36,
    "indexes": 1.0,
    "search": 1.0,
    "settings": 0.5,
    "check": 0.52,
    "checklist": 0.52,
    "report": 0.52,
    "impact": 0.52,
    "maintenance": 1.0,
    "defs": 0.52,
    "definitions": 0.52,
    "runs": 0.52,
    "cli": 0.52,
    "demo": 1.0,
}

#: Rooms that stand above others without importing them: runs run what `definitions` gathers.
ABOVE = {("runs", "definitions")}


@dataclass(slots=True)
class Chip:
    """A package or a module within a room, with the stations that are in it."""

    name: str
    stations: tuple[Station, ...]
    x: float = 0.0

    @property
    def width(self) -> float:
        """Of the chip, in px."""
        return 20 + 21 * len(self.stations) + 7.4 * len(self.name)


@dataclass(slots=True)
class Box:
    """A room: its rectangle, the lines in it, and the chips."""

    name: str
    files: int
    lines: list[str]
    chips: list[Chip] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    @property
    def height(self) -> float:
        """Of the box, in px."""
        return TITLE + LINE * len(self.lines) + (CHIP + 12 if self.chips else 0) + 10

    @property
    def chips_y(self) -> float:
        """The middle of the row of chips."""
        return self.y + self.height - 10 - CHIP / 2

    @property
    def middle(self) -> float:
        """Of the box, from the left."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by room, floors from the top down, the rooms on the ground, the height of it all."""

    boxes: dict[str, Box]
    floors: list[list[Box]]
    ground: list[str]
    ground_y: float
    height: float


def first_sentence(text: str) -> str:
    """Return the first sentence of a docstring, on one line."""
    flat = " ".join(text.split("\n\n")[0].split())
    return flat.split(". ")[0].rstrip(".")


def _chips(room: str) -> list[Chip]:
    chips = []
    for name in plan.inner_rooms(room):
        inside = f"{plan.PACKAGE}.{room}.{name}"
        chips.append(Chip(name, tuple(s for s in EVERY_STATION if plan.in_room(s.at, inside))))
    known = {station for chip in chips for station in chip.stations}
    # The later ones first: the caller's way comes in from the right.
    for station in reversed(EVERY_STATION):
        if plan.room_of(station.at) == room and station not in known:
            name = station.at.rpartition(".")[2]
            chips.append(Chip("" if name == room else name, (station,)))
    return chips


def _box(room: str) -> Box:
    chips = _chips(room)
    needed = sum(chip.width + 8 for chip in chips) + 16
    width = max(needed, 260.0)
    about = first_sentence(plan.docstring(f"{plan.PACKAGE}.{room}"))
    lines = textwrap.wrap(about, int((width - 24) / 7.2))
    return Box(room, plan.files_in(room), lines, chips, width=width)


def levels(pairs: set[tuple[str, str]], rooms: list[str]) -> dict[str, int]:
    """Return room -> level: one above all that it imports; a leaf is just below its users."""
    level: dict[str, int] = {}
    for room in rooms:
        below = [level[other] for one, other in pairs if one == room]
        level[room] = 1 + max(below, default=0)
    for leaf, users in plan.LEAVES.items():
        known = [level[user] for user in users if user in level]
        if leaf in level and known:
            level[leaf] = max(level[leaf], min(known) - 1)
    return level


def _place(floor: list[Box]) -> None:
    """Put boxes side by side, each as near to its hint as the others allow."""
    floor.sort(key=lambda box: HINTS.get(box.name, 0.5))
    edge = LEFT
    for box in floor:
        wanted = LEFT + HINTS.get(box.name, 0.5) * (RIGHT - LEFT - box.width)
        box.x = max(edge, wanted)
        edge = box.x + box.width + 24
    edge = RIGHT
    for box in reversed(floor):
        box.x = min(box.x, edge - box.width)
        edge = box.x - 24


def _rows(floor: list[Box]) -> list[list[Box]]:
    """Divide a floor whose boxes do not fit side by side, which import none of each other."""
    rows: list[list[Box]] = [[]]
    for box in floor:
        row = [*rows[-1], box]
        if rows[-1] and sum(one.width + 24 for one in row) - 24 > RIGHT - LEFT:
            rows.append([box])
        else:
            rows[-1] = row
    return rows


def arranged() -> Layout:
    """Place every room that exists."""
    counted = plan.arrows()
    ground = plan.carrying()
    above = [room for room in plan.rooms() if room not in ground]
    pairs = {(one, other) for one, other in counted if {one, other} <= set(above)}
    level = levels(pairs | ABOVE, above)
    boxes = {room: _box(room) for room in above}
    floors = []
    y = TOP
    for number in range(max(level.values()), 0, -1):
        for floor in _rows([boxes[room] for room in above if level[room] == number]):
            if not floor:
                continue
            _place(floor)
            tallest = max(box.height for box in floor)
            for box in floor:
                box.y = y + (tallest - box.height) / 2
            floors.append(floor)
            y += tallest + BETWEEN
    for box in boxes.values():
        edge = box.x + 12
        for chip in box.chips:
            chip.x = edge
            edge += chip.width + 8
    return Layout(boxes, floors, ground, y, y + GROUND + 24)
