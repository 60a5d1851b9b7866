"""Large blocks go back to the system as soon as they are freed."""

import subprocess
import sys

#: Frees a block of 31 MB, after which glibc would take the next ones from the heap; then a heap of
#: 12 MB blocks of which the last one stays.
_HOLES = """
import psutil
from memos_assets.freed_memory import give_back_large_blocks
give_back_large_blocks()
def resident():
    return psutil.Process().memory_info().rss
block = bytearray(31_000_000); del block
before = resident()
blocks = [bytearray(b"x") * 12_000_000 for _ in range(8)]
last = blocks[-1]
del blocks
print((resident() - before) // 1_000_000)
"""


def test_freed_blocks_leave_no_holes() -> None:
    found = subprocess.run([sys.executable, "-c", _HOLES], capture_output=True, text=True)
    assert (found.stderr, found.returncode) == ("", 0)
    assert int(found.stdout) < 20
