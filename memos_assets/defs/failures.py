"""Our errors as Dagster failures: one line at the top, its code as metadata, no retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from memos_assets.errors import MemosAssetsError


@contextmanager
def reported() -> Iterator[None]:
    """Turn a `MemosAssetsError` into a ``dg.Failure`` that the UI shows as its message."""
    try:
        yield
    except MemosAssetsError as error:
        raise dg.Failure(
            description=str(error),
            metadata={"code": error.code, "where": error.where, "fix": error.fix},
            # The same input gives the same error; what may pass by itself is retried inside.
            allow_retries=False,
        ) from error
