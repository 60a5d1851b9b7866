"""Our errors as Dagster failures: one line at the top, its code as metadata, no retry."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg
import psycopg
import sqlalchemy as sa

from memos_assets.errors import MemosAssetsError, out_of_memory
from memos_assets.postgres.refusals import refusal


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error of ours, or a refusal of PostgreSQL, into a failure that the UI shows as it.

    A process that gets no more memory says so likewise (M120).
    """
    try:
        yield
    except (MemosAssetsError, MemoryError) as raised:
        error = raised if isinstance(raised, MemosAssetsError) else out_of_memory("step")
        raise _failure(error) from raised
    except (sa.exc.SQLAlchemyError, psycopg.Error) as raised:
        known = refusal(raised)
        if known is None:
            raise
        raise _failure(known) from raised


def _failure(error: MemosAssetsError) -> dg.Failure:
    return dg.Failure(
        description=str(error),
        metadata={
            "code": error.code,
            "where": error.where,
            "fix": error.fix,
            "more": f"memos-assets explain {error.code}",
        },
        # The same input gives the same error; what may pass by itself is retried inside.
        allow_retries=False,
    )


def failed_by(errors: Sequence[MemosAssetsError]) -> dg.Failure:
    """Return the failure that names several errors; one of ours each."""
    first = errors[0]
    return dg.Failure(
        description=str(first)
        if len(errors) == 1
        else f"{len(errors)} files cannot be read: {'; '.join(map(str, errors))}",
        metadata={
            "code": ", ".join(sorted({error.code for error in errors})),
            "where": ", ".join(error.where for error in errors),
            "fix": first.fix,
        },
        allow_retries=False,
    )


def said(event: dg.DagsterEvent) -> str:
    """Return what a failure says, on one line: ours as it is, any other by its first cause."""
    if event.is_step_failure:
        raised = event.step_failure_data.user_failure_data
        if raised is not None:
            return str(raised.description)
        error = event.step_failure_data.error
    else:
        error = event.job_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return " ".join(error.message.split()) if error is not None else f"{event.job_name} failed"
