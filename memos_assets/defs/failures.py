"""Our errors as Dagster failures: one line at the top, its code as metadata, no retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from dagster._core.execution.plan.objects import StepFailureData

from memos_assets.errors import MemosAssetsError


@contextmanager
def reported() -> Iterator[None]:
    """Turn a `MemosAssetsError` into a ``dg.Failure`` that the UI shows as its message."""
    try:
        yield
    except MemosAssetsError as error:
        raise dg.Failure(
            description=str(error),
            metadata={
                "code": error.code,
                "where": error.where,
                "fix": error.fix,
                "more": f"memos-assets explain {error.code}",
            },
            # The same input gives the same error; what may pass by itself is retried inside.
            allow_retries=False,
        ) from error


def said(event: dg.DagsterEvent) -> str:
    """Return what a failure says, on one line: ours as it is, any other by its first cause."""
    data = event.step_failure_data if event.is_step_failure else event.job_failure_data
    if isinstance(data, StepFailureData) and data.user_failure_data is not None:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(error.message.split()) if error is not None else f"{event.job_name} failed"
