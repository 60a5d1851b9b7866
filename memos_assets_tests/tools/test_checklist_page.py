"""docs/checklist.md keeps what is written by hand, and every check can be linked to."""

import re

import pytest

from memos_assets.check import AnyCheck
from memos_assets.checklist import CHECKLIST
from tools.checklist_page import BEGIN, END, PAGE, with_part

CHECKLIST_PAGE = PAGE.read_text("utf-8")


def test_what_is_written_by_hand_stays() -> None:
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert with_part(page, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"


@pytest.mark.parametrize("page", ["", BEGIN, f"{END} {BEGIN}"])
def test_a_page_without_its_two_comments_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        with_part(page, "new")


@pytest.mark.parametrize("check", CHECKLIST.checks, ids=lambda check: check.label)
def test_every_check_can_be_linked_to(check: AnyCheck) -> None:
    headings = re.findall(r"^#+ (.*)$", CHECKLIST_PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchors.count(check.anchor) == 1
    assert f"](#{check.anchor})" in CHECKLIST_PAGE
