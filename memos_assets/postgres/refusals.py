"""Refusals of PostgreSQL, by SQLSTATE, as errors that say what to do.

For errors that a user or an administrator causes and that may meet any statement. A room that knows
more about its statement raises its own error before.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres.connection import first_line


@dataclass(frozen=True, slots=True)
class _Refusal:
    code: str
    what: str
    fix: str


_FULL = _Refusal(
    "M313",
    "PostgreSQL runs, and every connection that it allows is in use",
    "end idle connections (select pid, application_name, state from pg_stat_activity), or raise "
    "max_connections; then run again",
)
_CUT_OFF = _Refusal(
    "M314",
    "a timeout of the server ended this command",
    "take the timeout back for this role or database (alter role ROLE reset NAME), or let the "
    "administrator who cancelled it know; then run again; loaded chunks stay loaded",
)
_POOLER = _Refusal(
    "M312",
    "a prepared statement of this session is another session's, as behind a pooler in transaction "
    "mode",
    "connect to PostgreSQL directly, or through the pooler in session mode",
)
_NO_PGVECTOR = _Refusal(
    "M315",
    "pgvector is not where it was when this command connected",
    "see that `create extension vector` was run in this database, that this role may use its "
    "schema, and that its library is installed; then run again",
)
_FORBIDDEN = _Refusal(
    "M316",
    "this role may not do that",
    "connect as the owner of the schemas memos and memos_ops, or grant this role what is named",
)
_READ_ONLY = _Refusal(
    "M317",
    "the database takes no writes",
    "connect to the primary server, or undo default_transaction_read_only for this role and "
    "database",
)
_BUSY = _Refusal(
    "M318",
    "another session holds what this command needs",
    "let it finish, or end it (select pid, query from pg_stat_activity), then run again; "
    "MEMOS_LOCK_TIMEOUT_MS says how long a statement waits",
)
_CHANGED = _Refusal(
    "M319",
    "the schema is not the one that this version makes",
    "run `memos-assets migrate`; if somebody dropped or renamed what is named, restore it",
)
_STOPPED = _Refusal(
    "M306",
    "the server stopped serving this command",
    "check that the server runs and has free disk space and memory, then run the same command "
    "again; loaded chunks stay loaded",
)

_BY_STATE: Mapping[str, _Refusal] = {
    "53300": _FULL,
    "25P03": _CUT_OFF,
    "25P04": _CUT_OFF,
    "57014": _CUT_OFF,
    "57P05": _CUT_OFF,
    "26000": _POOLER,
    "42P05": _POOLER,
    "42704": _CHANGED,
    "42883": _CHANGED,
    "42P01": _CHANGED,
    "42703": _CHANGED,
    "3F000": _CHANGED,
    "58P01": _NO_PGVECTOR,
    "42501": _FORBIDDEN,
    "25006": _READ_ONLY,
    "55P03": _BUSY,
    "40P01": _BUSY,
    "40001": _BUSY,
}
#: What a server or a pooler says to a connection that it refuses; there is no SQLSTATE then. Only
#: behind FATAL, because the message begins with a path or a host that may contain anything.
_NO_ROOM = re.compile(
    r"FATAL:\s+(?:sorry, too many clients already|remaining connection slots are reserved|"
    r"too many connections for |no more connections allowed|Max ?[Cc]lient)"
)
_OF_PGVECTOR = re.compile(r'"?\b(?:vector|halfvec|sparsevec)\b|\$libdir/vector')


def is_full(error: BaseException) -> bool:
    """Whether a server refuses a connection because it has no free one: it runs."""
    cause = _driver_error(error)
    return isinstance(cause, psycopg.Error) and (
        cause.sqlstate == "53300" or bool(_NO_ROOM.search(str(cause)))
    )


def full(error: BaseException, where: str) -> TargetError:
    """Return the error of a server without a free connection."""
    return _said(_FULL, _line(error), where)


def refusal(error: BaseException, where: str = "database") -> TargetError | None:
    """Return what an error of the driver means to a user; None where it is a bug of ours.

    Args:
        error: of psycopg, psycopg2 or SQLAlchemy.
        where: the address as people may see it.
    """
    if isinstance(error, sa.exc.TimeoutError):
        return TargetError(
            "M313",
            "every connection of this process's pool is in use",
            where=where,
            fix="raise MEMOS_POOL_SIZE or MEMOS_MAX_OVERFLOW, or ask with fewer threads",
        )
    cause = _driver_error(error)
    if cause is None:
        return None
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    line = _line(error)
    if state in ("42704", "42883") and _OF_PGVECTOR.search(line):
        return _said(_NO_PGVECTOR, line, where)
    if state in _BY_STATE:
        return _said(_BY_STATE[state], line, where)
    if is_full(error):
        return full(error, where)
    if isinstance(error, psycopg.OperationalError | sa.exc.OperationalError):
        return _said(_STOPPED, line, where)
    return None


def _driver_error(error: BaseException) -> BaseException | None:
    if isinstance(error, sa.exc.DBAPIError):
        return error.orig
    return error if isinstance(error, psycopg.Error) else None


def _line(error: BaseException) -> str:
    line = first_line(error) if isinstance(error, Exception) else str(error)
    fatal = re.search(r"FATAL:\s+(.*)", str(_driver_error(error) or error))
    return fatal[1].strip() if fatal else line


def _said(found: _Refusal, line: str, where: str) -> TargetError:
    return TargetError(found.code, f"{found.what} ({line})", where=where, fix=found.fix)
