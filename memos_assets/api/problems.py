"""Errors as problem details: what went wrong, with its code and what to do.

No traceback is sent, and nothing of what a request said: the values that were refused may be
memories.

Source: RFC 9457.
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, Field
from starlette.responses import Response

from memos_assets.api.json_bytes import json_bytes
from memos_assets.blackboard import Conflict
from memos_assets.errors import (
    AgentError,
    MemosAssetsError,
    ServerError,
    SnapshotError,
    TargetError,
    UsageError,
)
from memos_assets.postgres.driver_errors import refusal

_log = logging.getLogger("memos_assets.api")

MEDIA_TYPE: Final = "application/problem+json"
#: Code -> status, where it is not that of the error's kind.
_STATUS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("M950", "M951", "M952", "M953", "M957"), 401),
    **dict.fromkeys(("M702", "M703", "M744", "M749", "M917", "M918", "M922", "M958"), 403),
    **dict.fromkeys(("M705", "M802", "M910", "M919", "M920", "M925", "M960"), 404),
    "M961": 405,
    **dict.fromkeys(("M747", "M911", "M912", "M913", "M914", "M915", "M916", "M926"), 409),
    **dict.fromkeys(("M930", "M931", "M995", "M996"), 409),
    "M921": 410,
    "M962": 413,
    **dict.fromkeys(("M316", "M317", "M319", "M964"), 500),
    **dict.fromkeys(("M577", "M578", "M740", "M741", "M742", "M748", "M963", "M993"), 503),
    "M965": 504,
}
_OF_KIND: Final[Mapping[type[MemosAssetsError], int]] = {
    AgentError: 422,
    UsageError: 422,
    TargetError: 503,
    ServerError: 503,
    SnapshotError: 500,
}
_RETRY: Final = {"Retry-After": "1"}


class Problem(BaseModel):
    """Problem details of RFC 9457, with the code and the next step."""

    type: str = Field(examples=["urn:memos-assets:M951"])
    title: str = Field(examples=["there is no such token"])
    status: int = Field(examples=[401])
    detail: str = Field(examples=["M951 access token: there is no such token. Fix: ..."])
    code: str = Field(examples=["M951"])
    where: str = Field(examples=["access token"])
    fix: str = Field(examples=["memos-assets tokens create --user ID makes another one"])
    errors: list[dict[str, Any]] | None = Field(
        default=None, description="Of a request that is not valid: the place, and what is wrong."
    )
    version: int | None = Field(
        default=None, description="Of a conflict: the version that is there; 0: there is none."
    )
    current: Any = Field(default=None, description="Of a conflict: the value that is there.")


def status_of(error: MemosAssetsError) -> int:
    """Return the HTTP status of an error."""
    found = _STATUS.get(error.code)
    if found is not None:
        return found
    return next((status for kind, status in _OF_KIND.items() if isinstance(error, kind)), 500)


def problem(error: MemosAssetsError, errors: Sequence[Mapping[str, Any]] | None = None) -> Response:
    """Return the answer that an error is."""
    status = status_of(error)
    content: dict[str, Any] = {
        "type": f"urn:memos-assets:{error.code}",
        "title": error.what,
        "status": status,
        "detail": str(error),
        "code": error.code,
        "where": error.where,
        "fix": error.fix,
    }
    if errors is not None:
        content["errors"] = list(errors)
    if isinstance(error, Conflict):
        content |= {"version": error.version, "current": error.current}
    headers = dict(_RETRY) if status == 503 else {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="memos-assets"'
    return Response(json_bytes(content), status, headers, media_type=MEDIA_TYPE)


def known(error: BaseException) -> MemosAssetsError:
    """Return an error of ours for whatever was raised; one that nobody foresaw is logged.

    The log has the kind of an error and where it was raised. Its text is left out: the driver puts
    the values of a statement there, which may be memories.
    """
    if isinstance(error, MemosAssetsError):
        return error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemosAssetsError):
            return cause
        if (found := refusal(cause)) is not None:
            _log.warning("%s: %s", found.code, type(cause).__name__)
            # The server's own words name values of unique keys, and addresses.
            return TargetError(found.code, "the database refused", where="request", fix=found.fix)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    _log.error("M964 %s at %s", type(error).__name__, place)
    return AgentError(
        "M964",
        f"{type(error).__name__}, which is a bug",
        where="memos-assets",
        fix="report it with the line that the server logged; nothing was stored",
    )
