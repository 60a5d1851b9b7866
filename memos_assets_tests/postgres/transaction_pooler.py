"""A pooler in transaction mode: its clients share one session of PostgreSQL, as with PgBouncer.

It speaks just enough of the protocol: a client gets the session with its first message, and loses
it when PostgreSQL says that no transaction is open.
"""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def _exactly(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


def _message(link: socket.socket) -> bytes:
    """Return one message of the protocol, with its type and its length."""
    head = _exactly(link, 5)
    return head + _exactly(link, struct.unpack("!i", head[1:])[0] - 4)


class _Pooler:
    def __init__(self, server: Path, user: str, database: str) -> None:
        self._session = socket.socket(socket.AF_UNIX)
        self._session.connect(str(server))
        request = struct.pack("!i", 196_608)
        for text in ("user", user, "database", database):
            request += text.encode() + b"\0"
        self._session.sendall(struct.pack("!i", len(request) + 5) + request + b"\0")
        self._greeting = b""
        while not self._greeting.endswith(b"Z\0\0\0\5I"):
            message = _message(self._session)
            if message[:1] == b"K":  # the client is told another process than PostgreSQL's
                message = b"K" + struct.pack("!iii", 12, 1, 1)
            self._greeting += message
        self._in_use = threading.Lock()

    def serve(self, client: socket.socket) -> None:
        with client, suppress(ConnectionError, OSError):
            while True:
                length = struct.unpack("!i", _exactly(client, 4))[0]
                asked = struct.unpack("!i", _exactly(client, length - 4)[:4])[0]
                if asked == 196_608:
                    break
                client.sendall(b"N")  # no encryption
            client.sendall(self._greeting)
            while self._transaction(client):
                pass

    def _transaction(self, client: socket.socket) -> bool:
        message = _message(client)
        if message[:1] == b"X":
            return False
        with self._in_use:
            while True:
                self._session.sendall(message)
                if message[:1] in b"QS":
                    answer = b""
                    while answer[:1] != b"Z":
                        answer = _message(self._session)
                        client.sendall(answer)
                    if answer[-1:] == b"I":
                        return True
                message = _message(client)


@contextmanager
def transaction_pooler(
    socket_directory: Path, port: int, user: str, database: str
) -> Iterator[int]:
    """Yield the port of localhost at which a pooler listens."""
    pooler = _Pooler(socket_directory / f".s.PGSQL.{port}", user, database)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=pooler.serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    pooler._session.close()
