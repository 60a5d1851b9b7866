"""The processes of the UI end together, and nothing that they started is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from memos_assets.errors import TargetError
from memos_assets.runs.ui import supervisor
from memos_assets.runs.ui.supervisor import _Processes, serve

#: Starts a process that ignores every signal that it may, says so, and sleeps.
STUBBORN = """
import signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
if len(sys.argv) < 3: subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[1], "child"])
time.sleep(60)
"""


def test_nothing_is_left_of_processes_that_do_not_end_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "_END_SECONDS", 0.2)
    monkeypatch.setattr(supervisor, "_LAST_SECONDS", 0.2)
    processes = _Processes(os.environ, tmp_path)
    processes.start("stubborn", [sys.executable, "-c", STUBBORN, STUBBORN])
    processes.start("obedient", [sys.executable, "-c", "import time; time.sleep(60)"])
    root = psutil.Process(processes.started["stubborn"].pid)
    while not root.children():
        time.sleep(0.05)
    (child,) = root.children()
    processes.stop()
    assert not [one for one in (root, child) if one.is_running() and one.status() != "zombie"]
    assert processes.started["obedient"].poll() == -signal.SIGTERM


def test_a_process_that_ends_by_itself_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text("load_from: [{python_module: {module_name: b, location_name: a}}]")
    monkeypatch.setattr(supervisor, "_program", lambda _: "/bin/false")
    # A shell starts what runs in the background with SIGINT ignored.
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(TargetError, match=r"^M375 .*: the code server of a ended by itself with"):
        serve(workspace, tmp_path, os.environ, 1)
    assert signal.getsignal(signal.SIGINT) is before


def test_processes_end_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "from memos_assets.runs.ui.supervisor import _Processes\n"
        "made = _Processes(os.environ, Path(sys.argv[1]))\n"
        "made.start('x', [sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(made.started['x'].pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    _, left = psutil.wait_procs([child], timeout=10)
    assert not [one for one in left if one.status() != "zombie"]
