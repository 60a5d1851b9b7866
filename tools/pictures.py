"""Write the pictures of the README: the lineage in the Dagster UI, and the report.

``make pictures`` runs it after ``make demo``. It needs Chromium (Debian: ``apt-get install
chromium``), which runs headless with an empty profile; nothing else is installed. The report is
photographed from a copy in which the paths, the user and the host of this machine are replaced.
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from memos_assets.report.render import reports_folder
from memos_assets.settings import load_settings

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
MOST_BYTES = 200_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
#: How long a page may load and draw: milliseconds of the page's clock, seconds of ours.
DRAWING_MS, GIVE_UP_S = 60_000, 300


def photograph(address: str, name: str, width: int, height: int) -> None:
    """Write one page, as a browser shows it, to ``docs/pictures/<name>.png``."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("Chromium is not installed. Fix: apt-get install chromium")
    path = PICTURES / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser,
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={width},{height}",
                f"--virtual-time-budget={DRAWING_MS}",
                f"--screenshot={path}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=GIVE_UP_S,
        )
    size = path.stat().st_size
    sys.stdout.write(f"{path.name}: {size:,} bytes\n")
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} is larger than {MOST_BYTES:,} bytes. Fix: a smaller window")


@contextmanager
def dagster_ui() -> Iterator[str]:
    """Run ``memos-assets ui`` on a free port while its address is used."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("memos-assets")), "ui", "--port", str(port)]
    with subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{address}/server_info", process)
            yield address
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the UI as Ctrl+C does, or kill it where it does not end within a minute."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)


def _wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=10).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(1)
        else:
            return
    raise SystemExit("The Dagster UI does not answer. Fix: see what `memos-assets ui` prints")


def photograph_report() -> None:
    """Write the first page of the latest report, without names of this machine."""
    settings = load_settings()
    pages = sorted(reports_folder(settings).glob("*.html"))
    if not pages:
        raise SystemExit("There is no report. Fix: make demo")
    text = pages[-1].read_text("utf-8")
    # The page marks where a long path may break, so the parts of a path are not adjacent.
    parts = [re.escape(part) for part in str(settings.home).strip("/").split("/")]
    text = re.sub(r"/(?:<wbr>)?" + r"/(?:<wbr>)?".join(parts), "~/.memos", text)
    text = text.replace(f"{getpass.getuser()}@{socket.gethostname()}", "you@host")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(text, "utf-8")
        photograph(page.as_uri(), "report", 1100, 960)


def main() -> None:
    """Write both pictures."""
    photograph_report()
    with dagster_ui() as address:
        photograph(f"{address}/asset-groups", "lineage", 1600, 720)


if __name__ == "__main__":
    main()
