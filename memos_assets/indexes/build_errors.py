"""PostgreSQL's errors during a build, as ours."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import sqlalchemy as sa

from memos_assets.errors import TargetError
from memos_assets.postgres.connection import first_line

_BUILT_BY_OTHERS = (psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation)


@contextmanager
def refusals(index: str, table: str, left_invalid: Callable[[], bool]) -> Iterator[None]:
    """Turn PostgreSQL's errors in a block into errors with a fix.

    Args:
        index: its name, with the schema.
        table: that it is on.
        left_invalid: returns whether a concurrent build left an invalid index.

    Raises:
        TargetError: M320 to M323, see `ensure_index`.
    """
    try:
        yield
    except (sa.exc.DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        said = first_line(error)
        if isinstance(cause, _BUILT_BY_OTHERS):
            raise TargetError(
                "M321",
                f"another session built it at the same time ({said})",
                where=index,
                fix="run again: the index that is there is used",
            ) from error
        if left_invalid():
            raise TargetError(
                "M322",
                f"the concurrent build broke off and left an invalid index ({said})",
                where=index,
                fix="run again: it is dropped and built from the start",
            ) from error
        if isinstance(cause, psycopg.errors.LockNotAvailable):
            raise TargetError(
                "M323",
                f"the table {table} is locked by another session ({said})",
                where=index,
                fix="let loads and other builds on the table end, then run again; "
                "MEMOS_LOCK_TIMEOUT_MS says how long to wait",
            ) from error
        raise TargetError(
            "M320",
            f"the index cannot be built ({said})",
            where=index,
            fix="free disk space or raise MEMOS_MAINTENANCE_WORK_MEM_MB, then run again",
        ) from error
