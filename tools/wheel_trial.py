"""Build the wheel, install it without the checkout, and use it: `make wheel-trial`.

Everything happens below one temporary folder, with an empty HOME and nothing of the checkout's
environment. No process is left running.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from memos_assets import __version__
from memos_assets.installation import PROJECT_ROOT

#: Files beside the modules without which an installed package does not work.
CARRIED = {
    "memos_assets/dagster.yaml",
    "memos_assets/workspace.yaml",
    "memos_assets/sql/migrations/env.py",
    "memos_assets/sql/functions/search.sql",
    "memos_assets/docs/errors.md",
    "memos_assets/docs/checklist.md",
    "memos_assets/search/embed/minilm_vocabulary.txt",
    "memos_assets/report/templates/report.html.jinja",
    f"memos_assets-{__version__}.dist-info/licenses/LICENSE",
}
LOCATIONS = (
    "{ workspaceOrError { ... on Workspace { locationEntries "
    "{ name loadStatus locationOrLoadError { __typename } } } } }"
)
LOADED = [
    {
        "name": "memos_assets",
        "loadStatus": "LOADED",
        "locationOrLoadError": {"__typename": "RepositoryLocation"},
    }
]
#: Seconds in which the UI must show the loaded location; in which it must stop.
START_SECONDS, STOP_SECONDS = 120, 60


@dataclass(frozen=True)
class Trial:
    """One trial: its folder, and the environment of a user who has nothing of ours."""

    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """Neither this checkout's settings nor its modules; HOME is an empty folder."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        return {**kept, "HOME": str(self.folder / "home"), "DAGSTER_DISABLE_TELEMETRY": "1"}

    def program(self, name: str) -> str:
        """Return the path of a program of the trial's virtual environment."""
        return str(self.folder / "venv" / "bin" / name)

    def run(self, program: str, *arguments: str) -> str:
        """Run an installed program in the empty working folder; return its output.

        Raises:
            SystemExit: it failed; the message ends with its output.
        """
        done = subprocess.run(
            [self.program(program), *arguments],
            cwd=self.folder / "work",
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"{program} {arguments}: exit {done.returncode}\n{done.stdout}")
        return done.stdout


def main() -> None:
    """Run the trial; print a line per step with its time."""
    with tempfile.TemporaryDirectory(prefix="memos-wheel-") as folder:
        trial = Trial(Path(folder))
        for name in ("home", "work", "dist"):
            (trial.folder / name).mkdir()
        started = time.monotonic()
        for step in (_build, _install, _use_terminal, _use_dagster, _use_ui, _stop):
            try:
                step(trial)
            except BaseException:
                _end_processes(trial)
                raise
            passed = time.monotonic() - started
            print(f"{passed:6.1f} s  {step.__doc__}", flush=True)


def _require(condition: bool, otherwise: str) -> None:  # noqa: FBT001
    if not condition:
        raise SystemExit(otherwise)


def _build(trial: Trial) -> None:
    """The sdist is built, and the wheel from it: with sql/ and templates, without tests."""
    _checked(["-m", "build", "--outdir", str(trial.folder / "dist"), str(PROJECT_ROOT)])
    with zipfile.ZipFile(_wheel(trial)) as archive:
        names = set(archive.namelist())
    _require(names >= CARRIED, f"missing in the wheel: {CARRIED - names}")
    own = ("memos_assets/", f"memos_assets-{__version__}.dist-info/")
    foreign = sorted(name for name in names if not name.startswith(own))
    _require(not foreign, f"foreign to the wheel: {foreign}")


def _install(trial: Trial) -> None:
    """It installs into an empty environment."""
    _checked(["-m", "venv", str(trial.folder / "venv")])
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    constraints = ["--constraint", str(PROJECT_ROOT / "constraints.txt")]
    _checked([*pip, *constraints, str(_wheel(trial))], trial.program("python"))


def _use_terminal(trial: Trial) -> None:
    """--version, demo, plan and consolidate; state is in the user's data directory."""
    said = trial.run("memos-assets", "--version")
    _require(said == f"memos-assets {__version__}\n", f"--version said {said!r}")
    trial.run("memos-assets", "demo", "memOS", "--scale", "small", "--seed", "1")
    trial.run("memos-assets", "plan", "--data", "memOS")
    said = trial.run("memos-assets", "consolidate", "--data", "memOS")
    _require("Proven: " in said, f"consolidate said:\n{said}")
    state = trial.folder / "home" / ".local" / "share" / "memos-assets"
    _require((state / "dagster" / "dagster.yaml").is_file(), f"no dagster.yaml in {state}")
    made = sorted(path.name for path in (trial.folder / "work").iterdir())
    _require(made == ["memOS"], f"the working folder holds {made}")


def _use_dagster(trial: Trial) -> None:
    """Dagster validates the location memos_assets.definitions, without a workspace."""
    trial.run("dagster", "definitions", "validate", "-m", "memos_assets.definitions")


def _use_ui(trial: Trial) -> None:
    """The UI serves its page with the location loaded, to no other site, and stops at Ctrl+C."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    log = trial.folder / "ui.log"
    with log.open("wb") as output:
        ui = subprocess.Popen(
            [trial.program("memos-assets"), "ui", "--port", address.rpartition(":")[2]],
            cwd=trial.folder / "work",
            env=trial.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        found = _locations(address, ui)
        _require(found == LOADED, f"locations: {found}\n{log.read_text()[-4_000:]}")
        with urllib.request.urlopen(f"{address}/locations", timeout=30) as page:
            _require(b">Dagster</title>" in page.read(), "the page is not Dagster's")
        _require_guard(address)
        ui.send_signal(signal.SIGINT)
        ui.wait(STOP_SECONDS)
        _require(ui.returncode == 0, f"exit {ui.returncode}\n{log.read_text()[-4_000:]}")
        left = [one.cmdline() for one in _processes(trial) if "dagster" in " ".join(one.cmdline())]
        _require(not left, f"left after Ctrl+C: {left}")
    finally:
        if ui.poll() is None:
            os.killpg(ui.pid, signal.SIGKILL)
            ui.wait()


def _require_guard(address: str) -> None:
    """Ask as a page of another site does, as a rebound name does, and for a mutation by GET."""
    asked = {
        403: urllib.request.Request(f"{address}/runs", headers={"Origin": "http://example.org"}),
        405: urllib.request.Request(f"{address}/graphql?query=mutation%7B__typename%7D"),
        415: urllib.request.Request(f"{address}/graphql", b"{}", {"Content-Type": "text/plain"}),
    }
    for status, request in asked.items():
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = answer.status
        except urllib.error.HTTPError as error:
            found = error.code
        _require(found == status, f"{request.full_url}: {found} instead of {status}")


def _locations(address: str, ui: subprocess.Popen[bytes]) -> object:
    """Return the workspace's locations as soon as none is loading, or what there is at the end."""
    body = json.dumps({"query": LOCATIONS}).encode()
    request = urllib.request.Request(
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    found: object = "the UI does not answer"
    deadline = time.monotonic() + START_SECONDS
    while found != LOADED and ui.poll() is None and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found = json.load(answer)["data"]["workspaceOrError"]["locationEntries"]
        except OSError:
            continue
    return found


def _stop(trial: Trial) -> None:
    """`down` stops the server, and no process is left."""
    trial.run("memos-assets", "down")
    _, left = psutil.wait_procs(_processes(trial), timeout=STOP_SECONDS)
    _require(not left, f"still running: {[process.pid for process in left]}")


def _processes(trial: Trial) -> list[psutil.Process]:
    """Return the processes that the trial started."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(str(trial.folder) in part for part in process.info["cmdline"] or ())
    ]


def _end_processes(trial: Trial) -> None:
    for process in _processes(trial):
        process.kill()
    psutil.wait_procs(_processes(trial), timeout=10)


def _wheel(trial: Trial) -> Path:
    (wheel,) = (trial.folder / "dist").glob("*.whl")
    return wheel


def _checked(arguments: Sequence[str], python: str = sys.executable) -> None:
    """Run Python with this process's environment, which knows the package registry.

    Raises:
        SystemExit: it failed; the message ends with its output.
    """
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
