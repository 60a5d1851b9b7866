"""Draw the floor plan as SVG: rooms by floor, imports as arrows, the two ways in colour.

`make picture` writes it. Arrows that follow from others are left out, and those to the ground,
which carries every room.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

from tools import floor_plan as plan
from tools.layout import (
    BETWEEN,
    CHIP,
    GROUND,
    LEFT,
    LINE,
    RIGHT,
    TITLE,
    WIDTH,
    Box,
    Layout,
    arranged,
    first_sentence,
)
from tools.ways import DATABASE, FILES, QUERY, ROW, Station

Point = tuple[float, float]
STYLE = """
svg{--paper:#fff;--ink:#1f2328;--soft:#59636e;--box:#f6f8fa;--line:#c5ccd3;--chip:#fff;--arrow:#8c959f;
--row:#bc4c00;--query:#0969da;--mark:#fff;
font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif}
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--soft:#9198a1;--box:#161b22;
--line:#3d444d;--chip:#0d1117;--arrow:#768390;--row:#f0883e;--query:#58a6ff;--mark:#0d1117}}
.paper{fill:var(--paper)}.box{fill:var(--box);stroke:var(--line);stroke-width:1.5}
.chip{fill:var(--chip);stroke:var(--line)}.beside{fill:var(--paper);stroke:var(--soft);stroke-width:1.5}
text{fill:var(--ink);font-size:13px}.room{font-size:17px;font-weight:650}.soft{fill:var(--soft)}
.head{font-size:21px;font-weight:700}.arrow{fill:none;stroke:var(--arrow)}.tip{fill:var(--arrow)}
.row{stroke:var(--row)}.query{stroke:var(--query)}.way{fill:none;stroke-width:7;stroke-linejoin:round;stroke-linecap:round}
.dot-row{fill:var(--row)}.dot-query{fill:var(--query)}.mark{fill:var(--mark);font-size:12px;font-weight:700;text-anchor:middle}
.name-row{fill:var(--row);font-weight:650}.name-query{fill:var(--query);font-weight:650}
"""
#: Widths of arrows by how many imports they stand for; classes, so that not every import redraws.
_WIDTHS = ((12, 5.0), (4, 3.2), (0, 1.8))


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "") -> str:
    extra = f' class="{kind}"' if kind else ""
    extra += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{extra}>{escape(words)}</text>'


def _rectangle(x: float, y: float, width: float, height: float, kind: str, radius: int) -> str:
    return (
        f'<rect class="{kind}" x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'rx="{radius}"/>'
    )


def _box(box: Box) -> Iterator[str]:
    yield _rectangle(box.x, box.y, box.width, box.height, "box", 8)
    yield _text(box.x + 12, box.y + 22, box.name, "room")
    count = f"{box.files} files" if box.files > 1 else "1 file"
    yield _text(box.x + box.width - 12, box.y + 22, count, "soft", "end")
    for number, line in enumerate(box.lines):
        yield _text(box.x + 12, box.y + TITLE + 12 + LINE * number, line, "soft")
    for chip in box.chips:
        top = box.chips_y - CHIP / 2
        yield _rectangle(chip.x, top, chip.width, CHIP, "chip", 13)
        yield _text(chip.x + 9 + 21 * len(chip.stations), box.chips_y + 4.5, chip.name)


def _rounded(points: Sequence[Point], radius: float = 14) -> str:
    """Return a path along the points, with round corners."""
    path = [f"M{points[0][0]:.0f} {points[0][1]:.0f}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        ends = []
        for other in (before, after):
            length = abs(other[0] - here[0]) + abs(other[1] - here[1])
            part = min(radius, length / 2) / (length or 1)
            ends.append(
                (here[0] + (other[0] - here[0]) * part, here[1] + (other[1] - here[1]) * part)
            )
        (x1, y1), (x2, y2) = ends
        path.append(f"L{x1:.0f} {y1:.0f}Q{here[0]:.0f} {here[1]:.0f} {x2:.0f} {y2:.0f}")
    path.append(f"L{points[-1][0]:.0f} {points[-1][1]:.0f}")
    return "".join(path)


def _free(floor: Sequence[Box], wanted: float) -> float:
    """Return the place between the boxes of a floor that is nearest to a wanted one."""
    edges = sorted((box.x - 24, box.x + box.width + 24) for box in floor)
    if not any(left < wanted < right for left, right in edges):
        return wanted
    return min((edge for pair in edges for edge in pair), key=lambda edge: abs(edge - wanted))


def _ports(layout: Layout, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str, str], float]:
    """Spread the ends of arrows along the edges of boxes, in the order of their other ends."""
    ports: dict[tuple[str, str, str], float] = {}
    for room, box in layout.boxes.items():
        for side, own in (("from", 0), ("to", 1)):
            ends = sorted(
                (pair for pair in pairs if pair[own] == room),
                key=lambda pair: layout.boxes[pair[1 - own]].middle,
            )
            for number, pair in enumerate(ends):
                ports[(*pair, side)] = box.x + box.width * (number + 1) / (len(ends) + 1)
    return ports


def _straightened(layout: Layout, pair: tuple[str, str], start: float, end: float) -> Point:
    """Let an arrow fall straight down where both boxes allow that."""
    one, other = (layout.boxes[room] for room in pair)
    if other.x + 20 < start < other.x + other.width - 20:
        return start, start
    if one.x + 20 < end < one.x + one.width - 20:
        return end, end
    return start, end


def _arrows(layout: Layout, counted: Counter[tuple[str, str]]) -> Iterator[str]:
    pairs = sorted(plan.thinned(pair for pair in counted if set(pair) <= layout.boxes.keys()))
    ports = _ports(layout, pairs)
    taken: list[Point] = []
    for pair in pairs:
        one, other = (layout.boxes[room] for room in pair)
        start, end = ports[(*pair, "from")], ports[(*pair, "to")]
        if sum(pair[0] == a for a, _ in pairs) == 1 or sum(pair[1] == b for _, b in pairs) == 1:
            start, end = _straightened(layout, pair, start, end)
        between = [
            floor
            for floor in layout.floors
            if one.bottom < floor[0].y and floor[0].bottom < other.y
        ]
        points = [(start, one.bottom)]
        for number, floor in enumerate(between):
            wanted = start + (end - start) * (number + 1) / (len(between) + 1)
            x = _free(floor, wanted)
            while any(abs(x - other) < 10 and y == floor[0].y for other, y in taken):
                x += 10
            taken.append((x, floor[0].y))
            top, low = min(box.y for box in floor), max(box.bottom for box in floor)
            points += [(x, top - 8), (x, low + 8)]
        points.append((end, other.y - 9))
        width = next(width for most, width in _WIDTHS if counted[pair] >= most)
        path = [f"M{points[0][0]:.0f} {points[0][1]:.0f}"]
        for (x1, y1), (x2, y2) in pairwise(points):
            half = (y2 - y1) * 0.5
            path.append(f"C{x1:.0f} {y1 + half:.0f} {x2:.0f} {y2 - half:.0f} {x2:.0f} {y2:.0f}")
        yield f'<path class="arrow" stroke-width="{width}" d="{"".join(path)}"/>'
        tip = 5 + width
        yield (
            f'<path class="tip" d="M{end - tip:.0f} {other.y - 10:.0f}h{2 * tip:.0f}'
            f'L{end:.0f} {other.y:.0f}z"/>'
        )


class _Ways:
    """The two ways on a layout: where their stations are, and the lines between them."""

    def __init__(self, layout: Layout) -> None:
        boxes = layout.boxes
        self.layout = layout
        self.files: Point = (LEFT / 2, boxes["sqlite"].y + boxes["sqlite"].height / 2)
        right = (RIGHT + WIDTH) / 2
        search = boxes["search"]
        self.caller: Point = (right, search.chips_y)
        self.database: Point = (right, (boxes["indexes"].y + boxes["postgres"].bottom) / 2)
        self.at: dict[str, Point] = {
            ROW[0].mark: (self.files[0], self.files[1] - 2),
            QUERY[0].mark: (self.caller[0] - 44, self.caller[1]),
            QUERY[2].mark: (right - 48, self.database[1] - 36),
            QUERY[3].mark: (right - 48, self.database[1] - 10),
        }
        self.box: dict[str, Box] = {}
        for box in boxes.values():
            for chip in box.chips:
                for number, station in enumerate(chip.stations):
                    self.at[station.mark] = (chip.x + 15 + 21 * number, box.chips_y)
                    self.box[station.mark] = box

    def _gap_below(self, box: Box) -> float:
        floor = next(floor for floor in self.layout.floors if box in floor)
        return max(one.bottom for one in floor) + BETWEEN / 2

    def _gap_above(self, box: Box) -> float:
        floor = next(floor for floor in self.layout.floors if box in floor)
        return min(one.y for one in floor) - BETWEEN / 2

    def row(self) -> Iterator[list[Point]]:
        """Yield the lines of a row's way."""
        at, box = self.at, self.box
        below = self._gap_below(box["2"])
        yield [at["1"], (at["1"][0], below + 6), (at["2"][0], below + 6), at["2"]]
        yield [at["2"], at["4"]]
        yield [at["4"], (at["4"][0], below - 6), (at["5"][0], below - 6), at["5"]]
        yield [at["5"], (at["5"][0], below - 6), (at["6"][0], below - 6), at["6"]]
        above = self._gap_below(box["7"])
        yield [at["6"], (at["6"][0], above), (at["7"][0], above), at["7"]]
        under = self._gap_below(box["5"])
        x = self.database[0]
        yield [at["5"], (at["5"][0], under), (x, under), (x, self.database[1] + 88)]

    def query(self) -> Iterator[list[Point]]:
        """Yield the lines of a query's way, there and back."""
        at, box = self.at, self.box
        below = self._gap_below(box["b"])
        above = self._gap_above(box["b"])
        yield [at["a"], at["b"]]
        yield [at["b"], (at["b"][0], below - 7), (at["c"][0], below - 7), at["c"]]
        yield [at["c"], at["d"]]
        x = RIGHT + 15
        back = [(x, at["d"][1]), (x, below + 7), (at["e"][0], below + 7)]
        yield [at["d"], *back, at["e"]]
        x = self.caller[0]
        yield [at["e"], (at["e"][0], above), (x, above), (x, at["a"][1] - 34)]

    def lines(self) -> Iterator[str]:
        """Yield both ways, as light strokes that text can be read through."""
        for kind, lines in (("row", list(self.row())), ("query", list(self.query()))):
            paths = "".join(f'<path class="way {kind}" d="{_rounded(line)}"/>' for line in lines)
            # The last line of either way ends beside the house, at an arrow.
            x, y = lines[-1][-1]
            side = 1 if lines[-1][-2][1] < y else -1
            tip = f"M{x - 9:.0f} {y:.0f}h18L{x:.0f} {y + 10 * side:.0f}z"
            yield f'<g opacity=".5">{paths}<path class="dot-{kind}" d="{tip}"/></g>'

    def beside(self) -> Iterator[str]:
        """Yield what is beside the house: the files, the database, the caller."""
        yield from _cylinder(self.files, 120, 92)
        yield _text(self.files[0], self.files[1] + 30, FILES, "", "middle")
        yield from _cylinder(self.database, 150, 136)
        x, y = self.database
        yield _text(x - 32, y - 31, "functions")
        yield _text(x - 32, y - 5, "indexes")
        yield _text(x - 32, y + 21, "tables")
        yield _text(x, y + 58, DATABASE, "room", "middle")
        x, y = self.caller
        yield _rectangle(x - 64, y - 24, 128, 48, "beside", 8)
        yield _text(x - 28, y + 4.5, "an agent")

    def marks(self) -> Iterator[str]:
        """Yield the numbered dots."""
        for kind, stations in (("row", ROW), ("query", QUERY)):
            for station in stations:
                yield from _mark(kind, station, *self.at[station.mark])


def _mark(kind: str, station: Station, x: float, y: float) -> Iterator[str]:
    yield f'<circle class="dot-{kind}" cx="{x:.0f}" cy="{y:.0f}" r="9.5"/>'
    yield _text(x, y + 4.2, station.mark, "mark")


def _cylinder(middle: Point, width: float, height: float) -> Iterator[str]:
    x, y = middle[0] - width / 2, middle[1] - height / 2
    half = width / 2
    yield (
        f'<path class="beside" d="M{x:.0f} {y:.0f}v{height:.0f}a{half:.0f} 10 0 0 0 {width:.0f} 0'
        f'v-{height:.0f}"/><ellipse class="beside" cx="{middle[0]:.0f}" cy="{y:.0f}" '
        f'rx="{half:.0f}" ry="10"/>'
    )


def _legend() -> Iterator[str]:
    yield _text(24, 48, "The rooms of memos_assets", "head")
    words = (
        "A room stands above all that it imports. Arrows are imports,",
        "wider where there are more. An arrow that follows from others",
        "is left out, and so are all to the ground.",
    )
    for number, line in enumerate(words):
        yield _text(24, 74 + 18 * number, line, "soft")
    y = 148.0
    for kind, title, stations in (
        ("row", "The way of a row", ROW),
        ("query", "The way of a query", QUERY),
    ):
        yield _text(24, y, title, f"name-{kind}")
        for station in stations:
            y += 25
            yield from _mark(kind, station, 34, y)
            yield _text(52, y + 4.5, station.name)
            for number, line in enumerate(textwrap.wrap(station.about.replace("`", ""), 44)):
                y += 17 * bool(number)
                yield _text(138, y + 4.5, line, "soft")
        y += 42


def _ground(layout: Layout) -> Iterator[str]:
    y, x = layout.ground_y, 36.0
    yield _rectangle(24, y, WIDTH - 48, GROUND, "box", 8)
    yield _text(x, y + 22, "ground", "room")
    yield _text(WIDTH - 36, y + 22, "carries every room", "soft", "end")
    rows: list[list[str]] = [[], []]
    for room in layout.ground:
        rows[plan.files_in(room) == 1 and room in plan.GROUND].append(room)
    for number, row in enumerate(rows):
        x, middle = 36.0, y + 54 + 36 * number
        for room in row:
            about = first_sentence(plan.docstring(f"{plan.PACKAGE}.{room}")).split(";")[0]
            files = plan.files_in(room)
            count = f", {files} files" if files > 1 else ""
            words = room if number else f"{room}: {about[:1].lower()}{about[1:]}{count}"
            width = 22 + 6.9 * len(words)
            yield _rectangle(x, middle - CHIP / 2, width, CHIP, "chip", 13)
            yield _text(x + 10, middle + 4.5, words)
            x += width + 8


def svg() -> str:
    """Return the picture, by the imports as they are now."""
    layout = arranged()
    ways = _Ways(layout)
    words = "The rooms of memos_assets, what imports what, and the ways of a row and of a query"
    size = f"0 0 {WIDTH} {layout.height:.0f}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" role="img"'
    parts = [
        f'{head} aria-label="{words}">',
        f"<style>{STYLE}</style>",
        _rectangle(0, 0, WIDTH, layout.height, "paper", 0),
        *_arrows(layout, plan.arrows()),
        *(part for box in layout.boxes.values() for part in _box(box)),
        *_ground(layout),
        *ways.beside(),
        *ways.lines(),
        *ways.marks(),
        *_legend(),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"
