"""A server that embeds, on a port of its own: Ollama's shape, OpenAI's, and whatever goes wrong."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: Any


#: What is answered: a status, and JSON or bytes that are none.
Answer = tuple[int, Any]


@dataclass(slots=True)
class Endpoint:
    """Where it listens, and what it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Asked], Answer]) -> Iterator[Endpoint]:
    """Answer every POST of the block by ``answer``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            request = Asked(self.path, dict(self.headers), json.loads(self.rfile.read(length)))
            endpoint.asked.append(request)
            status, content = answer(request)
            said = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", str(len(said)))
            # A client that gave up has closed the connection.
            with suppress(ConnectionError):
                self.end_headers()
                self.wfile.write(said)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def vector_of(text: str, dimension: int = 4) -> list[float]:
    """Return something that differs by text, raw."""
    return [float(len(text)), *[1.0] * (dimension - 1)]


def as_ollama(asked: Asked) -> Answer:
    """Answer as ``/api/embed`` does."""
    return 200, {"model": "m", "embeddings": [vector_of(text) for text in asked.body["input"]]}


def as_openai(asked: Asked) -> Answer:
    """Answer as ``/v1/embeddings`` does, in another order than asked."""
    items = [
        {"object": "embedding", "index": place, "embedding": vector_of(text)}
        for place, text in enumerate(asked.body["input"])
    ]
    return 200, {"object": "list", "data": items[::-1], "usage": {"prompt_tokens": 1}}
