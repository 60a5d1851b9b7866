"""Start the code server, the web server and the daemon of the UI, and end them together."""

import ctypes
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import yaml

from memos_assets.errors import TargetError

#: Seconds in which a code server must answer; that processes have to end by themselves; that they
#: have after they were told to.
_START_SECONDS, _END_SECONDS, _LAST_SECONDS = 180, 30, 10
_POLL_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


class _Stopped(Exception):  # noqa: N818  not an error
    """Ctrl+C, or a signal to end."""


@dataclass(slots=True)
class _Processes:
    """Processes of one UI, and everything that they start."""

    environment: Mapping[str, str]
    folder: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    seen: set[psutil.Process] = field(default_factory=set)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        self.started[name] = subprocess.Popen(
            arguments,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            # Ctrl+C at the terminal is ours to pass on, to one after the other.
            process_group=0,
            preexec_fn=_end_with_parent,
        )

    def require_alive(self) -> None:
        """Raise M375 when one of them ended by itself."""
        for name, process in self.started.items():
            if process.poll() is not None:
                raise TargetError(
                    "M375",
                    f"the {name} ended by itself with code {process.returncode}; the others were "
                    "stopped",
                    where="memos-assets ui",
                    fix="read its messages above, then start it again",
                )

    def look(self) -> None:
        """Remember what was started by now; its parent may change."""
        for process in self.started.values():
            with suppress(psutil.Error):
                own = psutil.Process(process.pid)
                self.seen |= {own, *own.children(recursive=True)}

    def stop(self) -> None:
        """End all of them, the last started first, and wait until none is left."""
        self.look()
        for name in reversed(self.started):
            process = self.started[name]
            if process.poll() is None:
                process.terminate()
            # The web server and the daemon talk to the code server until they end.
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
            self.look()
        left = self._waited(list(self.seen), _LAST_SECONDS)
        for end in (psutil.Process.terminate, psutil.Process.kill):
            for process in left:
                with suppress(psutil.Error):
                    end(process)
            left = self._waited(left, _LAST_SECONDS)
        for process in self.started.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECONDS)

    def _waited(self, processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
        _, left = psutil.wait_procs(processes, timeout=seconds)
        return [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def _end_with_parent() -> None:
    """Take signals as programs do, and SIGTERM when this process is killed (Linux)."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def serve(workspace: Path, folder: Path, environment: Mapping[str, str], port: int) -> None:
    """Serve the UI at 127.0.0.1 until Ctrl+C or SIGTERM; then nothing that was started is left.

    Args:
        workspace: a workspace.yaml. One code server serves each Python module in it, to the web
            server, the daemon and the runs.
        folder: that the processes work in; Dagster imports modules from it.
        environment: of the processes.
        port: of the web server.

    Raises:
        TargetError: M375 one of the processes ended by itself.
    """
    processes = _Processes(environment, folder)
    with _signals(), tempfile.TemporaryDirectory(prefix="memos-ui-") as sockets:
        try:
            served = Path(sockets) / "workspace.yaml"
            served.write_text(yaml.safe_dump({"load_from": _load(processes, workspace, sockets)}))
            address = ("--host", "127.0.0.1", "--port", str(port))
            module = "memos_assets.runs.ui.webserver"
            processes.start(
                "web server", [sys.executable, "-m", module, *address, "-w", str(served)]
            )
            processes.start("daemon", [_program("dagster-daemon"), "run", "-w", str(served)])
            while True:
                time.sleep(_POLL_SECONDS)
                processes.require_alive()
        except _Stopped:
            return
        finally:
            _ignore_signals()
            processes.stop()


def _load(processes: _Processes, workspace: Path, sockets: str) -> list[dict[str, Any]]:
    """Start a code server for each module of a workspace; return the workspace that names them."""
    content = yaml.safe_load(workspace.read_text("utf-8"))
    served: list[dict[str, Any]] = []
    waiting: list[Path] = []
    for number, entry in enumerate(content["load_from"]):
        module = entry.get("python_module")
        if not isinstance(module, dict) or set(module) != {"module_name", "location_name"}:
            served.append(entry)
            continue
        name, place = module["location_name"], Path(sockets) / f"{number}.sock"
        processes.start(
            f"code server of {name}",
            [
                *(_program("dagster"), "code-server", "start", "--log-level", "warning"),
                *("-m", module["module_name"], "--location-name", name, "--socket", str(place)),
            ],
        )
        waiting.append(place)
        served.append({"grpc_server": {"location_name": name, "socket": str(place)}})
    end = time.monotonic() + _START_SECONDS
    while not all(map(_answers, waiting)) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
        processes.require_alive()
    return served


def _program(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def _answers(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, suppress(OSError):
        client.connect(str(place))
        return True
    return False


@contextmanager
def _signals() -> Iterator[None]:
    """Have Ctrl+C and SIGTERM raise, even where a shell had them ignored."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _Stopped

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Let the end come to its end: a second Ctrl+C would leave processes behind."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
