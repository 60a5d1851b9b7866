"""The computed parts of the docs are up to date."""

import re

import pytest

from docs_build import pages
from memos_assets.check import AnyCheck
from memos_assets.checklist import CHECKLIST
from memos_assets.settings import PROJECT_ROOT

CHECKLIST_PAGE = (PROJECT_ROOT / "docs" / "checklist.md").read_text("utf-8")


def test_no_page_is_outdated() -> None:
    assert list(pages.outdated()) == [], "run make docs"


def test_what_is_written_by_hand_stays() -> None:
    page = f"before\n{pages.BEGIN}\nold\n{pages.END}\nafter\n"
    assert pages.with_part(page, "new") == f"before\n{pages.BEGIN}\n\nnew\n\n{pages.END}\nafter\n"


@pytest.mark.parametrize("page", ["", pages.BEGIN, f"{pages.END} {pages.BEGIN}"])
def test_a_page_without_its_two_comments_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        pages.with_part(page, "new")


@pytest.mark.parametrize("check", CHECKLIST.checks, ids=lambda check: check.label)
def test_every_check_can_be_linked_to(check: AnyCheck) -> None:
    headings = re.findall(r"^#+ (.*)$", CHECKLIST_PAGE, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert anchors.count(check.anchor) == 1
    assert f"](#{check.anchor})" in CHECKLIST_PAGE
