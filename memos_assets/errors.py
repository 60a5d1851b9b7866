"""Every failure this project raises on purpose. docs/errors.md lists the codes.

MemosAssetsError
├── SourceError   M1xx  a SQLite file is missing, locked, damaged, or not what the catalog says
├── CodecError    M2xx  a stored value does not decode to what the catalog promises
├── TargetError   M3xx  PostgreSQL refused, or is missing something
├── UsageError    M5xx  a command, a setting or an asset was used in a way that cannot work
├── ServerError   M6xx  the embedded PostgreSQL could not be started, reached or stopped
├── AgentError    M7xx  a call of memory or cache cannot be served; M9xx: of a board, HTTP, MCP
└── SnapshotError M8xx  a snapshot cannot be written, read, compared or restored
"""


class MemosAssetsError(Exception):
    """Base class: what happened, to which object, and the next command to run."""

    def __init__(self, code: str, what: str, *, where: str, fix: str) -> None:
        super().__init__(f"{code} {where}: {what}. Fix: {fix}")
        self.code, self.what, self.where, self.fix = code, what, where, fix

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling between Dagster's processes, which the keyword arguments would not."""
        return _rebuild, (type(self), self.code, self.what, self.where, self.fix)


def _rebuild(
    kind: type[MemosAssetsError], code: str, what: str, where: str, fix: str
) -> MemosAssetsError:
    return kind(code, what, where=where, fix=fix)


class SourceError(MemosAssetsError):
    """M1xx: a SQLite file is missing, locked, damaged, or shaped differently from the catalog."""


class CodecError(MemosAssetsError):
    """M2xx: stored bytes are not the value the catalog promises."""


class TargetError(MemosAssetsError):
    """M3xx: PostgreSQL refused a write or lacks an extension, a table, or an index."""


class UsageError(MemosAssetsError):
    """M5xx: a command, a setting or an asset was used in a way that cannot work."""


class ServerError(MemosAssetsError):
    """M6xx: the embedded PostgreSQL could not be started, reached or stopped."""


class AgentError(MemosAssetsError):
    """M7xx, M9xx: a call of memory, cache, board, HTTP or MCP is refused; nothing was stored."""


class SnapshotError(MemosAssetsError):
    """M8xx: a snapshot cannot be written, read, compared or restored; live tables are as before."""


def out_of_memory(where: str) -> SourceError:
    """Return M120: the process got no more memory, which says nothing about any file or table.

    Args:
        where: what was worked on.
    """
    return SourceError(
        "M120",
        "this process ran out of memory at work on it, which may be as sound as any",
        where=where,
        fix="give the process more memory (the limit of the shell, the container or the service), "
        "or stop what else runs on this machine, then run again",
    )
