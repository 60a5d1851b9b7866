"""A Redis server beside ours for a race, and the few bytes of its protocol that the race speaks.

No Redis client is imported: this one does as much per call as a client in Python can do at least.
"""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from bench.measure import BenchError, progress

PROGRAM: Final = "redis-server"
_START_SECONDS: Final = 10.0


@contextmanager
def redis_server(folder: Path) -> Iterator[Path | None]:
    """Start Debian's redis-server on a Unix socket, without persistence; yield the socket.

    Yields None where the program is not installed: the race then is of ours alone. No port is
    opened.

    Raises:
        BenchError: it does not start.
    """
    program = shutil.which(PROGRAM)
    if program is None:
        progress.print(f"{PROGRAM} is not installed, ours is measured alone. Fix: apt-get install")
        yield None
        return
    place = folder / "redis.sock"
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(program, "--port", "0", "--unixsocket", str(place), "--save", ""),
                *("--appendonly", "no", "--dir", str(folder), "--maxmemory", "2gb"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_for(process, place)
        yield place
    finally:
        process.terminate()
        process.wait(_START_SECONDS)


def _wait_for(process: subprocess.Popen[bytes], place: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError):
            RedisClient(place).close()
            return
        time.sleep(0.02)
    raise BenchError(f"{PROGRAM} does not answer. Fix: see {place.with_suffix('.log')}")


class RedisClient:
    """One connection; a call at a time."""

    def __init__(self, place: Path) -> None:
        """Connect to a Unix socket."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(place))
        self._replies = self._socket.makefile("rb")

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key; None: it has none."""
        return self._call(b"GET", key)

    def set(self, key: bytes, value: bytes, milliseconds: int) -> None:
        """Store a value that lives so long."""
        self._call(b"SET", key, value, b"PX", str(milliseconds).encode())

    def close(self) -> None:
        """Close the connection."""
        self._replies.close()
        self._socket.close()

    def _call(self, *parts: bytes) -> bytes | None:
        sent = b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(b"*%d\r\n%b" % (len(parts), sent))
        line = self._replies.readline()
        if line.startswith(b"$"):
            length = int(line[1:])
            return None if length < 0 else self._replies.read(length + 2)[:-2]
        if not line.startswith(b"+"):
            raise BenchError(f"Redis says {line!r}")
        return line[1:-2]
