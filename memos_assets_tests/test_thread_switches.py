"""The interval between switches of threads is shorter for a block, whatever ends the block."""

import sys
from collections.abc import Iterator

import pytest

from memos_assets import thread_switches
from memos_assets.thread_switches import prompt_switches


@pytest.fixture(autouse=True)
def _usual_interval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with Python's own interval, whatever threads of other tests are doing."""
    monkeypatch.setattr(thread_switches._Blocks, "count", 0)
    former = sys.getswitchinterval()
    sys.setswitchinterval(0.005)
    yield
    sys.setswitchinterval(former)


def test_the_interval_is_as_before_after_the_block() -> None:
    before = sys.getswitchinterval()
    with prompt_switches():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_blocks_that_overlap_restore_the_interval_in_whatever_order_they_end() -> None:
    before = sys.getswitchinterval()
    first, second = prompt_switches(), prompt_switches()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert sys.getswitchinterval() < before
    second.__exit__(None, None, None)
    assert sys.getswitchinterval() == before


def test_so_it_is_after_an_error() -> None:
    before = sys.getswitchinterval()
    with pytest.raises(RuntimeError, match="broken"), prompt_switches():
        raise RuntimeError("broken")
    assert sys.getswitchinterval() == before
