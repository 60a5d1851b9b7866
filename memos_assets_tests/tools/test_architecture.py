"""The picture of the rooms and its page are made from the code as it is."""

import xml.etree.ElementTree as ET

import pytest

from tools import floor_plan as plan
from tools.architecture import PAGE, PICTURE, written
from tools.layout import arranged
from tools.ways import CALLER, DATABASE, EVERY_STATION, FILES, Station

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("path", [PICTURE, PAGE], ids=str)
def test_what_is_committed_is_up_to_date(path: object) -> None:
    made = {str(name): content for name, content in written().items()}[str(path)]
    committed = (plan.ROOT / str(path)).read_text("utf-8")
    assert committed == made, "Fix: make picture"


def test_every_room_has_a_box_or_is_on_the_ground() -> None:
    layout = arranged()
    assert sorted([*layout.boxes, *layout.ground]) == sorted(plan.rooms())
    texts = [text.text for text in ET.fromstring(written()[PICTURE]).iter(f"{SVG}text")]
    assert set(plan.rooms()) <= {str(text).partition(":")[0] for text in texts}


def test_no_two_boxes_overlap_and_none_leaves_the_picture() -> None:
    layout = arranged()
    boxes = list(layout.boxes.values())
    assert all(box.x >= 0 and box.bottom < layout.ground_y for box in boxes)
    overlapping = [
        (one.name, other.name)
        for one in boxes
        for other in boxes
        if one.name < other.name
        and one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.bottom
        and other.y < one.bottom
    ]
    assert overlapping == []


@pytest.mark.parametrize("station", EVERY_STATION, ids=lambda station: station.name)
def test_every_station_is_a_module_or_beside_the_house(station: Station) -> None:
    assert station.at in {FILES, DATABASE, CALLER} | plan.modules().keys()


def test_an_arrow_that_follows_from_others_is_left_out() -> None:
    pairs = [("a", "b"), ("b", "c"), ("a", "c"), ("a", "d")]
    assert plan.thinned(pairs) == {("a", "b"), ("b", "c"), ("a", "d")}
