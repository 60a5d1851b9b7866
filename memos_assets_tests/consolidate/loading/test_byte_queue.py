"""A queue that is bounded by bytes."""

import queue

import pytest

from memos_assets.consolidate.loading.byte_queue import ByteQueue


def test_it_holds_so_many_items_and_bytes_and_a_larger_item_alone() -> None:
    items: ByteQueue[str] = ByteQueue(3, 100)
    items.put("large", 5_000, timeout=0)
    with pytest.raises(queue.Full):
        items.put("small", 0, timeout=0)
    assert not items.wait_for_room(timeout=0)
    assert items.get(timeout=0) == "large"
    assert items.wait_for_room(timeout=0)
    items.put("a", 60, timeout=0)
    items.put("b", 40, timeout=0)
    with pytest.raises(queue.Full):
        items.put("c", 1, timeout=0)
    items.put("d", 0, timeout=0)
    with pytest.raises(queue.Full):
        items.put("e", 0, timeout=0)
    assert [items.get(timeout=0) for _ in "abd"] == ["a", "b", "d"]
    with pytest.raises(queue.Empty):
        items.get(timeout=0)
