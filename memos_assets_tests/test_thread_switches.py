"""The interval between switches of threads is shorter for a block, whatever ends the block."""

import sys

import pytest

from memos_assets.thread_switches import prompt_switches


def test_the_interval_is_as_before_after_the_block() -> None:
    before = sys.getswitchinterval()
    with prompt_switches():
        assert sys.getswitchinterval() < before
    assert sys.getswitchinterval() == before


def test_so_it_is_after_an_error() -> None:
    before = sys.getswitchinterval()
    with pytest.raises(RuntimeError, match="broken"), prompt_switches():
        raise RuntimeError("broken")
    assert sys.getswitchinterval() == before
