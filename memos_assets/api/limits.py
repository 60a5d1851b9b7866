"""The bounds of each request: a token, the size of its body, how many at once, how long.

Around the application, so that nothing of it runs for a request without a token but health, and so
that an error that nobody foresaw is answered and logged without what the request said.
"""

import asyncio
import logging
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memos_assets.api.doors import no_token
from memos_assets.api.metrics import NO_ROUTE, Metrics
from memos_assets.api.problems import known, problem, status_of
from memos_assets.errors import AgentError
from memos_assets.settings import Settings

_log = logging.getLogger("memos_assets.api")

#: Paths that answer without a token.
OPEN_PATHS: Final = ("/health", "/ready")
STREAM: Final = b"text/event-stream"
_SCHEME: Final = "bearer "


class Limits:
    """ASGI middleware that holds every request to the limits of the settings."""

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._settings.api_most_bytes)
        began = time.perf_counter()
        try:
            await self._bounded(scope, receive, answer)
        except Exception as error:  # noqa: BLE001  whatever was raised, the client gets an answer
            await self._refuse(scope, receive, answer, known(error))
        finally:
            self._note(scope, answer, time.perf_counter() - began)

    async def _bounded(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, answer.send)
            return
        headers = Headers(scope=scope)
        scope.setdefault("state", {})["token"] = token_in(headers)
        if scope["state"]["token"] is None:
            raise no_token()
        most = self._settings.api_most_bytes
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise too_large(most)
        if self._active >= self._settings.api_most_requests:
            raise AgentError(
                "M963",
                f"{self._active} requests are being answered by this worker, which is the most",
                where="request",
                fix="send it again after the seconds of Retry-After; MEMOS_API_MOST_REQUESTS and "
                "`memos-assets serve --workers` say how many there may be",
            )
        self._active += 1
        self._metrics.active.inc()
        try:
            async with asyncio.timeout(self._settings.api_seconds) as limit:
                answer.limit = limit
                await self._app(scope, answer.receiving(receive), answer.send)
        except TimeoutError:
            if not limit.expired():
                raise
            raise AgentError(
                "M965",
                f"the request took more than {self._settings.api_seconds:g} s and was ended; "
                "nothing that it had not committed was stored",
                where="request",
                fix="ask for less at once, or raise MEMOS_API_SECONDS",
            ) from None
        finally:
            self._active -= 1
            self._metrics.active.dec()

    async def _refuse(
        self, scope: Scope, receive: Receive, answer: "_Answer", error: AgentError | Exception
    ) -> None:
        found = known(error)
        self._metrics.refused.labels(found.code).inc()
        if answer.status is None:
            await problem(found)(scope, receive, answer.send)
        else:
            # The beginning of the answer is out; the connection ends without its end.
            answer.status = status_of(found)

    def _note(self, scope: Scope, answer: "_Answer", seconds: float) -> None:
        # The template of the path: its parameters name memories and users.
        route = getattr(scope.get("route"), "path", NO_ROUTE)
        method, status = scope["method"], str(answer.status or 499)
        method = method if method in _METHODS else "OTHER"
        self._metrics.requests.labels(method, route, status).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route not in OPEN_PATHS:
            _log.info("%s %s %s %.1f ms", method, route, status, seconds * 1_000)


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Answer:
    """An answer on its way, and the body that is read for it."""

    def __init__(self, scope: Scope, send: Send, most: int) -> None:
        self._scope, self._send, self._left, self._most = scope, send, most, most
        self.status: int | None = None
        self.limit: asyncio.Timeout | None = None

    async def send(self, message: Message) -> None:
        """Send a part; a stream that has begun is not bound by the time of a request."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kind = dict(message.get("headers") or ()).get(b"content-type", b"")
            if self.limit is not None and kind.startswith(STREAM):
                self.limit.reschedule(None)
        await self._send(message)

    def receiving(self, receive: Receive) -> Receive:
        """Return what receives no more bytes than are allowed."""

        async def bounded() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                self._left -= len(message.get("body", b""))
                if self._left < 0:
                    raise too_large(self._most)
            return message

        return bounded


def token_in(headers: Headers) -> str | None:
    """Return the token of a request; None where there is none."""
    value = headers.get("authorization", "")
    if not value.lower().startswith(_SCHEME):
        return None
    return value[len(_SCHEME) :].strip() or None


def too_large(most: int) -> AgentError:
    """Return the refusal of a body that is larger than allowed, M962."""
    return AgentError(
        "M962",
        f"the body has more than {most:,} bytes, or does not say how many",
        where="request",
        fix="send less at once; MEMOS_API_MOST_BYTES says how much a body may have",
    )
