"""Whether anything of ours uses Redis: imports, requirements, deployment, open ports."""

import ast
import importlib.metadata
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

import memos_assets
from memos_assets.settings import PROJECT_ROOT

#: Packages that speak to Redis, or to what took its place, as they are imported.
CLIENTS: Final = frozenset(
    {
        *("redis", "aioredis", "aredis", "coredis", "hiredis", "rediscluster", "redis_om"),
        *("redisvl", "walrus", "valkey", "glide", "glide_sync", "fakeredis", "django_redis"),
        *("asyncio_redis", "txredisapi", "rq", "arq"),
    }
)
#: Of the server, of its cluster bus, of Sentinel.
PORTS: Final = (6379, 16379, 26379)

_NAMED: Final = re.compile(rf"\b(?:{'|'.join(sorted(CLIENTS))})\b")
_IMPORTERS: Final = frozenset({"import_module", "__import__", "find_spec"})
_ADDRESS: Final = re.compile(r"\b(?:rediss?|valkeys?)(?=://)")
_IMAGE: Final = re.compile(r"^\s*(?:image:|FROM)\s*\S*(?:redis|valkey)", re.IGNORECASE)
#: Folders of a checkout that hold nothing of ours.
_NOT_OURS: Final = frozenset({".venv", ".git", ".memos", "node_modules", "build", "dist"})
_DEPLOYED: Final = ("compose*.y*ml", "Dockerfile*", "*.env")


@dataclass(frozen=True, slots=True)
class Traces:
    """What was found, and how much was looked at.

    Attributes:
        found: each on one line, with its file and line, or its process.
        files: that were read.
        processes: whose connections were looked at.
    """

    found: tuple[str, ...]
    files: int
    processes: int


def traces() -> Traces:
    """Look at the sources, the requirements, the deployment and this run's processes."""
    root = our_root()
    sources = list(_files(root, ("*.py",)))
    deployed = [*_files(root / "docker", _DEPLOYED)] if root == PROJECT_ROOT else []
    found = [line for path in sources for line in in_source(path, path.relative_to(root))]
    found += [line for path in deployed for line in in_deployment(path, path.relative_to(root))]
    found += in_requirements(importlib.metadata.requires("memos-assets") or ())
    processes = run_processes()
    found += on_ports(processes, PORTS)
    return Traces(tuple(found), len(sources) + len(deployed), len(processes))


def our_root() -> Path:
    """Return the checkout, where this runs in one, else the installed package."""
    package = Path(memos_assets.__file__).parent
    return PROJECT_ROOT if package.parent == PROJECT_ROOT else package


def _files(folder: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for current, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_OURS)
        for name in sorted(names):
            path = Path(current, name)
            if any(path.match(pattern) for pattern in patterns):
                yield path


def in_source(path: Path, shown: Path) -> Iterator[str]:
    """Yield imports of a client, and addresses of a server, in a Python source."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if not (_NAMED.search(text) or _ADDRESS.search(text)):
        return
    for node in ast.walk(ast.parse(text)):
        for name in _imported(node):
            if name.partition(".")[0] in CLIENTS:
                yield f"{shown}:{getattr(node, 'lineno', 0)} imports {name}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for address in _ADDRESS.findall(node.value):
                yield f"{shown}:{node.lineno} names an address of {address}"


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module
    elif isinstance(node, ast.Call) and node.args:
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        first = node.args[0]
        if name in _IMPORTERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            yield first.value


def in_requirements(requirements: Iterable[str]) -> list[str]:
    """Return requirements that are a client, with or without an extra."""
    names = (
        (line, re.split(r"[\s\[<>=!~;(]", line.strip(), maxsplit=1)[0]) for line in requirements
    )
    return [
        f"requirement {line}" for line, name in names if name.lower().replace("-", "_") in CLIENTS
    ]


def in_deployment(path: Path, shown: Path) -> Iterator[str]:
    """Yield images of a server and its ports in a file that deploys ours."""
    ports = re.compile(rf"(?<!\d)(?:{'|'.join(map(str, PORTS))})(?!\d)")
    for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), 1):
        said = line.partition("#")[0]
        if _IMAGE.search(said) or ports.search(said):
            yield f"{shown}:{number} deploys {said.strip()}"


def run_processes() -> list[psutil.Process]:
    """Return this process and all that it started."""
    mine = psutil.Process()
    return [mine, *mine.children(recursive=True)]


def on_ports(processes: Sequence[psutil.Process], ports: Sequence[int]) -> list[str]:
    """Return what processes listen on, or are connected to, of these ports."""
    found: list[str] = []
    for process in processes:
        # A process that ended meanwhile, or that is another user's, such as the server's.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            found.extend(
                f"process {process.pid} has port {end.port} {one.status}"
                for one in process.net_connections(kind="inet")
                for end in filter(None, (one.laddr, one.raddr))
                if end.port in ports
            )
    return found
