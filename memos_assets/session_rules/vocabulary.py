"""Names that mean a session, a maker or an engine where the sources do not say so."""

import re
from typing import Final

from memos_assets.session_rules.values import Is, Kind, Makes, Value

#: Packages whose sessions and engines these are.
_LIBRARIES: Final = frozenset({"sqlalchemy", "sqlmodel", "flask_sqlalchemy", "fastapi_sqlalchemy"})
#: Packages that have sessions of another kind.
_OTHERS: Final = frozenset(
    {"requests", "aiohttp", "httpx", "boto3", "botocore", "aiobotocore", "aioboto3", "curl_cffi"}
    | {"tensorflow", "onnxruntime", "neo4j", "cassandra", "selenium", "playwright", "flask"}
    | {"starlette", "telnetlib3", "asyncssh", "paramiko", "sqlite3", "aiosqlite", "redis"}
    | {"unittest", "pytest", "mock", "typing", "collections", "contextlib", "asyncio"}
)

_ENGINES: Final = ("create_engine", "create_async_engine", "engine_from_config")
_ENGINES_FROM: Final = ("async_engine_from_config", "create_mock_engine")
_MAKERS: Final = ("sessionmaker", "async_sessionmaker", "scoped_session", "async_scoped_session")
#: Types of sessions.
SESSION_TYPES: Final = frozenset({"Session", "AsyncSession", "AsyncConnection", "Connection"})
_OF_OBJECTS: Final = ("object_session", "async_object_session")

#: What a call of SQLAlchemy's gives, by the last part of its name.
LIBRARY: Final[dict[str, Value]] = {
    **dict.fromkeys((*_ENGINES, *_ENGINES_FROM), Makes(Is(Kind.ENGINE))),
    **dict.fromkeys(_MAKERS, Makes(Is(Kind.MAKER))),
    **dict.fromkeys(("Session", "AsyncSession"), Makes(Is(Kind.OWN))),
    **dict.fromkeys(_OF_OBJECTS, Makes(Is(Kind.GIVEN))),
}

_OF_DATABASE = r"(?:async|sync|db|database|sql|pg|postgres|read|write|test)_?"
_MAKER = re.compile(rf"_*(?:{_OF_DATABASE})*sessions?_?(?:maker|factory|local|scope)s?_*", re.I)
#: Of a database by its own name; a call of it makes a session, whatever it is passed.
_PROVIDER = re.compile(
    r"_*(?:get|make|create|new|open|acquire|provide|yield)_"
    r"(?:(?:(?:async|sync)_)?(?:db|database|sql|pg|postgres)"
    r"(?:_(?:session|conn|connection|context|ctx|scope))?"
    r"|(?:async|sync|db|database|sql)_(?:db_)?session(?:_(?:context|ctx|scope))?)",
    re.I,
)
_SESSION_CALLED = re.compile(r"_*(?:async|db|sql|sync)_session_*", re.I)
#: Of a chat, a browser or a database: only a call without arguments, used as a context, is one.
_MAYBE_PROVIDER = re.compile(r"_*(?:get|make|create|new|open)_session", re.I)

#: Parameters that are sessions where no type says otherwise.
_PARAMETER = re.compile(
    r"_*(?:session|db|db_session|async_session|async_db|sql_session|sess|database_session)_*", re.I
)
#: Attributes that are sessions where the class does not say otherwise.
_ATTRIBUTE = re.compile(r"_*(?:session|db_session|async_session|sql_session)_*", re.I)
#: Methods that sessions have, and clients of HTTP with sessions do not.
ONLY_SESSIONS_HAVE: Final = frozenset(
    {"commit", "rollback", "flush", "add", "add_all", "execute", "scalars", "scalar", "refresh"}
    | {"merge", "begin", "begin_nested", "query", "expunge", "expunge_all", "run_sync", "exec"}
    | {"get_bind", "in_transaction", "bulk_save_objects", "bulk_insert_mappings", "stream"}
)
#: Methods that end the transaction of a session, or the session.
ENDS: Final = frozenset(
    {"commit", "rollback", "close", "aclose", "invalidate", "reset", "close_all"}
)
#: Functions that return what they were passed, or what it yields.
PASSING: Final = frozenset(
    {"next", "anext", "closing", "aclosing", "enter_context", "enter_async_context", "shield"}
    | {"asynccontextmanager", "contextmanager", "cast", "wait_for", "iter", "aiter", "copy"}
)
#: Methods that return what their object yields.
YIELDING: Final = frozenset({"__next__", "__anext__", "__enter__", "__aenter__", "send", "asend"})
#: Methods of a maker or an engine that make a session or a connection.
OPENING: Final = frozenset({"begin", "connect", "raw_connection", "begin_once"})
#: SQL that ends a transaction.
ENDING_SQL: Final = re.compile(r"\s*(?:commit|rollback(?!\s+to)|end|abort)\b[\s;]*\Z", re.I)


def of_library(name: str) -> Value | None:
    """Return what a dotted name of another package stands for."""
    root, _, rest = name.partition(".")
    if root not in _LIBRARIES:
        return None
    return LIBRARY.get(rest.rpartition(".")[2])


def is_session_type(name: str) -> bool:
    """Return whether a dotted name is a type of sessions."""
    root, _, rest = name.partition(".")
    last = rest.rpartition(".")[2]
    return root in _LIBRARIES and last in {*SESSION_TYPES, "scoped_session", "async_scoped_session"}


def is_of_others(name: str) -> bool:
    """Return whether a dotted name is of a package with sessions of another kind."""
    return name.partition(".")[0] in _OTHERS


def is_library(name: str) -> bool:
    """Return whether a dotted name is of a package with these sessions."""
    return name.partition(".")[0] in _LIBRARIES


def called_by_name(name: str, *, arguments: bool, as_context: bool) -> Kind | None:
    """Return what a call makes by the name of what is called, None if the name says nothing.

    Args:
        name: of the function or the attribute, without what is before its last dot.
        arguments: whether it is passed any by position.
        as_context: whether the result is entered or iterated over.
    """
    if _MAKER.fullmatch(name) or _PROVIDER.fullmatch(name) or _SESSION_CALLED.fullmatch(name):
        # sessionmaker is a name of SQLAlchemy's, whose result makes sessions.
        return Kind.MAKER if name in _MAKERS else Kind.OWN
    if _MAYBE_PROVIDER.fullmatch(name) and as_context and not arguments:
        return Kind.OWN
    if name == "AsyncSession":
        return Kind.OWN
    return Kind.ENGINE if name in _ENGINES else None


def is_maker_name(name: str) -> bool:
    """Return whether a parameter or attribute of this name makes sessions when it is called."""
    return bool(_MAKER.fullmatch(name))


def is_session_name(name: str, *, attribute: bool = False) -> bool:
    """Return whether a parameter, or an attribute, of this name may be a session."""
    return bool((_ATTRIBUTE if attribute else _PARAMETER).fullmatch(name))
