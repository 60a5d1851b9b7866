"""What the commands about rejects share: options, the target, and the selected rejects."""

from contextlib import AbstractContextManager
from typing import Annotated

import sqlalchemy as sa
import typer

from memos_assets.catalog import MEMOS
from memos_assets.consolidate.rejects import decisions
from memos_assets.consolidate.rejects.listing import Selection
from memos_assets.consolidate.sources import registry
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings

Source = Annotated[str | None, typer.Option("--source", metavar="NAME", help="Only this source.")]
Filter = Annotated[str | None, typer.Option("--table", metavar="TABLE", help="Only this table.")]
OfReason = Annotated[
    str | None, typer.Option("--reason", metavar="REASON", help="Only this reason.")
]
OfTable = Annotated[str, typer.Option("--table", metavar="TABLE", help="Rows of which table.")]
Reason = Annotated[str, typer.Option("--reason", metavar="REASON", help="Why they were rejected.")]
All = Annotated[bool, typer.Option("--all", help="Settled ones, too.")]


def open_engine(name: str) -> AbstractContextManager[sa.Engine]:
    """Open the target database for the command of this name."""
    return open_consolidated(load_settings(), f"memos_assets:rejects_{name}")


def selection(
    conn: sa.Connection,
    source: str | None,
    table: str | None,
    reason: str | None,
    *,
    settled: bool,
) -> Selection:
    """Return the selected rejects; an unknown name is an error, not an empty selection."""
    if source is not None:
        registry.source_named(conn, MEMOS.kinds, source)
    if reason is not None:
        decisions.check_reason(reason)
    name = None if table is None else decisions.table_named(MEMOS, table).name
    return Selection(MEMOS, source, name, reason, only_open=not settled)
