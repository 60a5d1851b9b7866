"""What endpoints behind HTTP need: certificates, masked keys, reasons of failures in words."""

import os
import ssl
from functools import cache
from typing import Any, Final

import httpx
from pydantic import SecretStr

_MASK: Final = "**********"
_MOST_SAID: Final = 200


@cache
def trusted() -> ssl.SSLContext:
    """Return the certificates that are trusted, read once: that takes longer than to embed."""
    return httpx.create_ssl_context()


def authorization(key: SecretStr | None) -> dict[bytes, bytes]:
    """Return the header that a key is sent in; none without one."""
    if key is None:
        return {}
    return {b"Authorization": f"Bearer {key.get_secret_value()}".encode()}


def refusal_of(response: httpx.Response, key: SecretStr | None) -> tuple[str, str]:
    """Return a refusal in words, and what the endpoint said of it: one line, short, key masked."""
    said = _said(response)
    if key is not None:
        said = said.replace(key.get_secret_value(), _MASK)
    return f"the endpoint refuses with {response.status_code}{f' ({said})' if said else ''}", said


def _said(response: httpx.Response) -> str:
    """Return an endpoint's message about a refusal, on one line and short."""
    try:
        said: Any = response.json()
    except ValueError:
        return ""
    while isinstance(said, dict):
        said = next((said[name] for name in ("error", "message", "detail") if name in said), "")
    return " ".join(str(said).split())[:_MOST_SAID].rstrip(".")


def cause_of(error: BaseException) -> str:
    """Return the innermost reason of a failed request, which names no address."""
    reason: BaseException | None = error
    while reason is not None:
        if isinstance(reason, OSError) and reason.strerror:
            # asyncio writes the address there; a name that is not found has a number of its own.
            number = reason.errno or 0
            return os.strerror(number) if number > 0 else reason.strerror
        if isinstance(reason, BaseExceptionGroup):
            # One for each address that the name has.
            reason = reason.exceptions[0]
        else:
            reason = reason.__cause__ or reason.__context__
    return type(error).__name__
