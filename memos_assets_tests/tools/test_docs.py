"""Generated pages follow from the code."""

import pytest

from tools.docs import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), "Fix: make docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_names_no_folder_of_this_machine(name: str) -> None:
    assert str(FOLDER.parent) not in PAGES[name]()
