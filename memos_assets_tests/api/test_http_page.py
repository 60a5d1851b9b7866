"""docs/http.md: its requests are sent as they are written, and answered."""

import json
import re
import subprocess
from collections.abc import Callable

from memos_assets.settings import PROJECT_ROOT
from memos_assets_tests.api.conftest import Server

PAGE = (PROJECT_ROOT / "docs" / "http.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:8765"


def requests_of(block: str) -> list[str]:
    """Return the requests of a block, each after the variables that the block begins with."""
    first, *others = re.split(r"\n(?=curl )", block.strip())
    if first.startswith("curl "):
        return [first, *others]
    return [f"{first}\n{one}" for one in others]


def test_the_requests_of_the_page_are_answered(api: Server, token: Callable[..., str]) -> None:
    blocks = [one for one in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) if "curl" in one]
    requests = [one for block in blocks for one in requests_of(block)]
    assert len(requests) >= 13
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
            assert re.search(r"^event: (answer|end)$", done.stdout, re.MULTILINE)
        else:
            assert json.loads(done.stdout)


def test_its_client_configurations_are_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert [list(json.loads(one)["mcpServers"]) for one in blocks] == [["memos"], ["memos"]]
