"""Clients of a race: each in a process, all at once; and the server beside ours."""

import os
import socket
import threading
from pathlib import Path

import pytest

from bench import redis_server
from bench.clients import WARMED, Call, hammer, together
from bench.measure import BenchError


def test_clients_are_processes_whose_calls_are_counted_after_they_are_warm(tmp_path: Path) -> None:
    def client(number: int) -> Call:
        turns: list[int] = []

        def call(turn: int) -> None:
            turns.append(turn)
            assert turns[-1] == len(turns) - 1
            (tmp_path / f"{number}").write_text(f"{os.getpid()} {len(turns)}")

        return call

    calls = hammer(client, 2, 0.05)
    said = [[int(part) for part in (tmp_path / name).read_text().split()] for name in "01"]
    assert len({os.getpid(), said[0][0], said[1][0]}) == 3
    counted = sum(count - WARMED for _, count in said)
    assert len(calls.milliseconds) == counted
    assert calls.per_second == pytest.approx(counted / 0.05)
    assert 0 < calls.median <= calls.p99
    assert len(together([calls, calls]).milliseconds) == 2 * counted


def test_a_client_that_fails_fails_the_race() -> None:
    def client(_: int) -> Call:
        raise ValueError("no such table")

    with pytest.raises(BenchError, match="ValueError: no such table"):
        hammer(client, 2, 0.05)


def test_without_redis_the_race_is_of_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_server, "PROGRAM", "no-such-redis-server")
    with redis_server.redis_server(tmp_path) as place:
        assert place is None


def test_the_protocol_of_redis_is_spoken(tmp_path: Path) -> None:
    """Against a server that says what Redis says, since not every machine has one."""
    place = tmp_path / "socket"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(place))
    server.listen()
    asked: list[bytes] = []

    def answer() -> None:
        connection, _ = server.accept()
        with connection:
            for reply in (b"+OK\r\n", b"$5\r\nva\r\nl\r\n", b"$-1\r\n", b"-ERR no\r\n"):
                asked.append(connection.recv(1_000))
                connection.sendall(reply)

    thread = threading.Thread(target=answer)
    thread.start()
    client = redis_server.RedisClient(place)
    client.set(b"k", b"va\r\nl", 1_500)
    assert client.get(b"k") == b"va\r\nl"
    assert client.get(b"x") is None
    with pytest.raises(BenchError, match="ERR no"):
        client.get(b"k")
    thread.join()
    client.close()
    server.close()
    assert asked[0] == b"*5\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nva\r\nl\r\n$2\r\nPX\r\n$4\r\n1500\r\n"
    assert asked[1] == b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"
