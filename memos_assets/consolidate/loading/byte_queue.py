"""A queue between two threads that is bounded by bytes, because batches have any size."""

import queue
import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class ByteQueue(Generic[Item]):
    """First in, first out. An item that is larger than the bound waits in it alone."""

    def __init__(self, most_items: int, most_bytes: int) -> None:
        """Make an empty queue that holds so many items and bytes at most."""
        self._most_items, self._most_bytes = most_items, most_bytes
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, item: Item, size: int = 0, timeout: float | None = None) -> None:
        """Add an item of so many bytes once there is room.

        Raises:
            queue.Full: there was none for ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(size), timeout):
                raise queue.Full
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()

    def wait_for_room(self, timeout: float | None = None) -> bool:
        """Wait until what is in it is below its bound in bytes; False when it never was."""
        with self._changed:
            return self._changed.wait_for(lambda: self._bytes < self._most_bytes, timeout)

    def get(self, timeout: float | None = None) -> Item:
        """Remove and return the first item once there is one.

        Raises:
            queue.Empty: there was none for ``timeout`` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: bool(self._items), timeout):
                raise queue.Empty
            item, size = self._items.popleft()
            self._bytes -= size
            self._changed.notify_all()
        return item

    def _has_room(self, size: int) -> bool:
        return not self._items or (
            len(self._items) < self._most_items and self._bytes + size <= self._most_bytes
        )
