"""Server-sent events: an answer that is sent in parts, and ends when its client leaves.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from memos_assets.api.json_bytes import json_bytes
from memos_assets.api.problems import known, status_of

MEDIA_TYPE: Final = "text/event-stream"


class Emit(Protocol):
    """Sends one event."""

    async def __call__(self, name: str, data: Any, /, *, number: int | None = None) -> None:
        """Send an event.

        Args:
            name: of the event.
            data: JSON.
            number: by which a client that comes back names the last event that it has.
        """


class EventStream(Response):
    """Runs what produces events, and sends each at once; a client that leaves cancels it."""

    media_type = MEDIA_TYPE

    def __init__(self, produce: Callable[[Emit], Awaitable[None]], seconds: float | None) -> None:
        """Take what produces events.

        Args:
            produce: given what sends an event; it opens and closes its own session.
            seconds: after which it is ended; None: it ends by itself.
        """
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._produce, self._seconds, self._ended = produce, seconds, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, until there are no more or nobody listens."""
        _ = scope
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)

        async def emit(name: str, data: Any, /, *, number: int | None = None) -> None:
            if self._ended:
                return  # others wait for the same computation, which goes on without this client
            head = f"event: {name}\n" + ("" if number is None else f"id: {number}\n")
            body = head.encode() + b"data: " + json_bytes(data) + b"\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})

        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            try:
                with anyio.fail_after(self._seconds):
                    await self._produce(emit)
            except Exception as error:  # noqa: BLE001  the answer has begun: it ends with an event
                await emit("error", _shown(error, self._seconds))
            tasks.cancel_scope.cancel()
        self._ended = True
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _shown(error: Exception, seconds: float | None) -> dict[str, Any]:
    if isinstance(error, TimeoutError) and seconds is not None:
        return {"code": "M965", "status": 504, "title": f"it took more than {seconds:g} s"}
    found = known(error)
    return {
        "code": found.code,
        "status": status_of(found),
        "title": found.what,
        "where": found.where,
        "fix": found.fix,
    }
