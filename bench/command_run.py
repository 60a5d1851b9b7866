"""The whole command as people run it: a process from start to exit, its memory watched."""

import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchError
from bench.memory import MemorySampler, Peak
from bench.world import World
from memos_assets.settings import PROJECT_ROOT, environment_for_dagster


@dataclass(frozen=True, slots=True)
class CommandRun:
    """Seconds from process start to exit, and the peaks by role."""

    seconds: float
    peaks: Mapping[str, Peak]


def consolidate_arguments(world: World) -> list[str]:
    """Return ``memos-assets consolidate --data DEMO`` of this interpreter."""
    program = str(Path(sys.executable).with_name("memos-assets"))
    return [program, "consolidate", "--data", str(world.demo)]


def command_environment(world: World) -> dict[str, str]:
    """Return an environment that names this world and no other database."""
    inherited = environment_for_dagster(world.settings)
    return {
        **{name: value for name, value in inherited.items() if not name.startswith("MEMOS_")},
        "MEMOS_HOME": str(world.home),
        "DAGSTER_HOME": str(PROJECT_ROOT),
    }


def run_consolidate(world: World) -> CommandRun:
    """Run ``memos-assets consolidate --data DEMO`` and wait for it.

    Raises:
        BenchError: when it did not prove the demo; then its time says nothing.
    """
    postmaster = world.server.status().pid
    assert postmaster is not None, "the server was started with the world"
    log = world.folder / "consolidate.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            consolidate_arguments(world),
            env=command_environment(world),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            with MemorySampler(process.pid, postmaster) as sampler:
                code = process.wait()
                seconds = time.perf_counter() - started
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-30:])
        raise BenchError(
            f"memos-assets consolidate ended with exit code {code}:\n{tail}\n"
            "Fix: make the demo pass first: make demo"
        )
    return CommandRun(seconds, sampler.peaks())
