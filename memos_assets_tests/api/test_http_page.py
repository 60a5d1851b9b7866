"""docs/http.md: its requests are sent as they are written, and answered."""

import json
import re
import subprocess
from collections.abc import Callable

from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.api.conftest import Server

PAGE = (PROJECT_ROOT / "docs" / "http.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8765"


def test_the_requests_of_the_page_are_answered(api: Server, token: Callable[..., str]) -> None:
    blocks = [one for one in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "curl" in one]
    requests = [one for block in blocks for one in re.split(r"\n(?=curl )", block.strip())]
    assert len(requests) >= 7
    bearer = token()
    for request in requests:
        script = request.replace(ADDRESS, api.url).replace("curl -s", "curl --fail-with-body -s")
        done = subprocess.run(
            ["/bin/sh", "-c", script],
            env={"TOKEN": bearer, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (request, done.stdout, done.stderr)
        if "event-stream" in request:
            assert "event: answer" in done.stdout
        else:
            assert json.loads(done.stdout)


def test_its_client_configurations_are_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [list(json.loads(one)["mcpServers"]) for one in blocks] == [["memos"], ["memos"]]
