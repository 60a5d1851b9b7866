"""So many clients at once, each a process of its own: calls per second, and the time of each."""

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Final

import numpy as np
import numpy.typing as npt

from bench.measure import BenchError

#: A call that is measured, given how often it was called.
Call = Callable[[int], object]
#: Makes the call of a client, in its process: connections do not survive a fork.
Client = Callable[[int], Call]
#: Calls of each client before the clock runs: plans, prepared statements, caches of the driver.
WARMED: Final = 30
_PATIENCE_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Calls:
    """What was measured.

    Attributes:
        per_second: calls of all clients.
        milliseconds: float64, (calls,), of each call.
    """

    per_second: float
    milliseconds: npt.NDArray[np.float64]

    @property
    def median(self) -> float:
        """The middle call, in ms."""
        return float(np.median(self.milliseconds))

    @property
    def p99(self) -> float:
        """The call that 1 of 100 is slower than, in ms."""
        return float(np.quantile(self.milliseconds, 0.99))


def together(calls: Sequence[Calls]) -> Calls:
    """Return several rounds as one: the median of their rates, and every call."""
    rate = float(np.median([one.per_second for one in calls]))
    return Calls(rate, np.concatenate([one.milliseconds for one in calls]))


def hammer(client: Client, clients: int, seconds: float) -> Calls:
    """Let clients call for some seconds, all at once.

    Raises:
        BenchError: a client failed.
    """
    forked = multiprocessing.get_context("fork")
    barrier = forked.Barrier(clients)
    pairs = [forked.Pipe(duplex=False) for _ in range(clients)]
    processes = [
        forked.Process(target=_client, args=(client, number, seconds, barrier, sender))
        for number, (_, sender) in enumerate(pairs)
    ]
    for process in processes:
        process.start()
    for _, sender in pairs:
        sender.close()
    try:
        answers = [_received(receiver) for receiver, _ in pairs]
    finally:
        for process in processes:
            process.join(1)
            process.kill()
            process.join()
    return Calls(
        sum(len(one) / seconds for one in answers), np.concatenate(answers).astype(np.float64) / 1e6
    )


def _received(receiver: Connection) -> npt.NDArray[np.int64]:
    if not receiver.poll(_PATIENCE_SECONDS):
        raise BenchError("a client of the race hangs")
    try:
        answer = receiver.recv()
    except EOFError:
        raise BenchError("a client of the race ended before its time") from None
    if isinstance(answer, str):
        raise BenchError(f"a client of the race failed: {answer}")
    return np.asarray(answer, np.int64)


def _client(
    client: Client, number: int, seconds: float, barrier: Barrier, sender: Connection
) -> None:
    try:
        call = client(number)
        for turn in range(WARMED):
            call(turn)
        taken: list[int] = []
        barrier.wait(_PATIENCE_SECONDS)
        until = time.perf_counter() + seconds
        before = time.perf_counter_ns()
        while time.perf_counter() < until:
            call(WARMED + len(taken))
            now = time.perf_counter_ns()
            taken.append(now - before)
            before = now
        sender.send(taken)
    except Exception as error:  # noqa: BLE001  the parent raises it
        barrier.abort()
        sender.send(f"{type(error).__name__}: {error}")
