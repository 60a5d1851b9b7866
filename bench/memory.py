"""Peak memory of processes, read from /proc every 20 ms while they run (Linux only)."""

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_INTERVAL_SECONDS = 0.02


@dataclass(slots=True)
class Peak:
    """The most memory that any process of one role had, in bytes.

    Attributes:
        resident: all of its pages, those it shares with others included.
        private: anonymous pages, which it shares with nobody.
        processes: how many there were.
    """

    resident: int = 0
    private: int = 0
    processes: int = 0


class MemorySampler:
    """Watches a process with its descendants, and a PostgreSQL server's backends.

    `ru_maxrss` would not do: it counts what a child had before its exec, which is its parent's.
    """

    def __init__(self, command: int, postmaster: int) -> None:
        self._command, self._postmaster = command, postmaster
        self._seen: dict[int, tuple[str, Peak]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory", daemon=True)

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def peaks(self) -> dict[str, Peak]:
        """Return role -> the peak among its processes."""
        roles: dict[str, Peak] = {}
        for role, seen in self._seen.values():
            peak = roles.setdefault(role, Peak())
            peak.resident = max(peak.resident, seen.resident)
            peak.private = max(peak.private, seen.private)
            peak.processes += 1
        return dict(sorted(roles.items()))

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL_SECONDS):
            for process in self._descendants(self._command):
                self._sample(process, "memos-assets consolidate")
            for process in _children(self._postmaster):
                self._sample(process, None)

    def _descendants(self, process: int) -> list[int]:
        found = [process]
        for child in _children(process):
            found += self._descendants(child)
        return found

    def _sample(self, process: int, role: str | None) -> None:
        status = _status(process)
        if not status:
            return
        known, peak = self._seen.get(process, (_NAMELESS, Peak()))
        if known == _NAMELESS:
            # PostgreSQL names its processes a moment after their start.
            self._seen[process] = (role or _backend_role(process), peak)
        peak.private = max(peak.private, status.get("RssAnon", 0))
        parts = sum(status.get(name, 0) for name in ("RssAnon", "RssFile", "RssShmem"))
        # VmHWM is the kernel's own peak; it falls between no two samples.
        peak.resident = max(peak.resident, parts, status.get("VmHWM", 0))


_NAMELESS = "PostgreSQL: other processes"


def _backend_role(process: int) -> str:
    title = ""
    with suppress(OSError):
        title = (_PROC / str(process) / "cmdline").read_bytes().decode("utf-8", "replace")
    if "parallel worker" in title:
        return "PostgreSQL: parallel workers"
    if "[local]" in title:
        return "PostgreSQL: backends"
    return _NAMELESS


def _children(process: int) -> list[int]:
    found: list[int] = []
    # A process started by any thread is listed under that thread.
    with suppress(OSError):
        for thread in (_PROC / str(process) / "task").iterdir():
            with suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def _status(process: int) -> dict[str, int]:
    """Return the sizes in /proc/PID/status in bytes, none when the process is gone."""
    sizes: dict[str, int] = {}
    with suppress(OSError):
        for line in (_PROC / str(process) / "status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.startswith(("Rss", "VmHWM")):
                sizes[name] = int(value.split()[0]) * 1024
    return sizes
