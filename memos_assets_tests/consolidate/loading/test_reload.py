"""The choice of chunks that are loaded again, and its text in the tag of a run."""

import pytest

from memos_assets.consolidate.loading.reload import Reload


@pytest.mark.parametrize(
    ("reload", "taken"),
    [
        (Reload(), {("a", "s", 0), ("a", "s", 1), ("b", "s", 0), ("b", "t", 1)}),
        (Reload(tables=("b",)), {("b", "s", 0), ("b", "t", 1)}),
        (Reload(sources=("t",)), {("b", "t", 1)}),
        (Reload(chunks=("001",)), {("a", "s", 1), ("b", "t", 1)}),
        (Reload(chunks=("s/001",)), {("a", "s", 1)}),
        (Reload(("b",), ("s",), ("000",)), {("b", "s", 0)}),
    ],
)
def test_a_reload_takes_what_all_of_its_options_name(
    reload: Reload, taken: set[tuple[str, str, int]]
) -> None:
    chunks = {("a", "s", 0), ("a", "s", 1), ("b", "s", 0), ("b", "t", 1)}
    assert {chunk for chunk in chunks if reload.takes(*chunk)} == taken
    again = Reload.parse(reload.text)
    assert again is not None
    assert {chunk for chunk in chunks if again.takes(*chunk)} == taken


def test_a_run_without_the_tag_reloads_nothing() -> None:
    assert Reload.parse(None) is None
    assert Reload().text == "true"
