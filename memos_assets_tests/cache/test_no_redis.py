"""V56 looks where a use of Redis would be, and finds each kind of it."""

import socket
from pathlib import Path

import psutil
import pytest

from memos_assets.cache import no_redis


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import redis", "imports redis"),
        ("import os, redis.asyncio as r", "imports redis.asyncio"),
        ("def f():\n    from valkey.asyncio import Valkey", "imports valkey.asyncio"),
        ("import importlib\nm = importlib.import_module('aioredis')", "imports aioredis"),
        ("m = __import__('hiredis')", "imports hiredis"),
        ("URL = 're' 'dis://localhost/2'", "names an address of redis"),
    ],
)
def test_a_use_in_a_source_is_found_with_its_line(tmp_path: Path, source: str, said: str) -> None:
    path = tmp_path / "service.py"
    path.write_text(source)
    # The words of a source that only speaks of it are none.
    line = source.count("\n") + 1
    if "URL" in source:
        path.write_text(source.replace("'re' 'dis", "'redis"))
    assert list(no_redis.in_source(path, Path("service.py"))) == [f"service.py:{line} {said}"]


def test_a_source_that_only_speaks_of_it_is_none(tmp_path: Path) -> None:
    path = tmp_path / "service.py"
    path.write_text("'''No redis here.'''\nfrom .redis import x\nNAMES = {'redis', 'valkey'}\n")
    assert list(no_redis.in_source(path, path)) == []


def test_requirements_and_deployments_are_read(tmp_path: Path) -> None:
    given = ["redis[hiredis]>=5", "django-redis ; extra == 'web'", "predis", "redis-dump>=1"]
    assert no_redis.in_requirements(given) == [f"requirement {line}" for line in given[:2]]
    compose = tmp_path / "compose.yaml"
    compose.write_text("a:\n  image: redis:7-alpine\n  # 6379\n  ports: ['6379:6379', '16379']\n")
    assert [line.partition(" ")[0] for line in no_redis.in_deployment(compose, compose)] == [
        f"{compose}:2",
        f"{compose}:4",
    ]


def test_a_port_that_is_listened_on_is_found_with_its_process() -> None:
    mine = [psutil.Process()]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert no_redis.on_ports(mine, [port]) == [f"process {mine[0].pid} has port {port} LISTEN"]
    assert no_redis.on_ports(mine, [port]) == []


def test_nothing_of_ours_uses_it() -> None:
    found = no_redis.traces()
    assert found.found == ()
    assert found.files > 500
    assert found.processes >= 1
