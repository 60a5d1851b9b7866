"""Whether the memory of freed blocks goes back to the system or stays with the process."""

import ctypes
from functools import cache

#: Parameters of glibc's mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Bytes from which a block is mapped by itself; a usual batch is smaller.
_MAPPED_BYTES = 4 * 1024 * 1024
#: Bytes that the heap keeps at its end. Usual batches come and go within.
_KEPT_BYTES = 16 * 1024 * 1024


@cache
def give_back_large_blocks() -> None:
    """Give large blocks back to the system as they are freed, in this process from now on.

    glibc maps no more blocks below the size of the largest one that was freed, up to 32 MB. Values
    of 12 MB then leave holes in the heap of every thread: 20 MB of 300 were such holes. Where the C
    library is another one, nothing is changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
