"""Errors of a load: one chunk that was refused, or several of them."""

from collections.abc import Sequence

from memos_assets.catalog import TableSpec
from memos_assets.consolidate.decoding.reader import ChunkTask
from memos_assets.errors import MemosAssetsError, TargetError
from memos_assets.postgres.connection import first_line


def refused_chunk(spec: TableSpec, task: ChunkTask, error: Exception) -> TargetError:
    """Return the error of a chunk that PostgreSQL refused."""
    return TargetError(
        "M310",
        f"PostgreSQL refused the chunk ({first_line(error)}); the chunk is as it was before",
        where=f"{spec.qualified} {task.source}/{task.chunk:03d}",
        fix="remove the cause and run again; chunks in the ledger are not copied twice",
    )


def refused_chunks(
    spec: TableSpec, refused: Sequence[MemosAssetsError], tried: int, untried: int
) -> TargetError:
    """Return one error for several chunks: of their code, or M380 where they have several."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for error in refused:
        chunk = error.where.removeprefix(spec.qualified).strip()
        by_reason.setdefault((error.code, error.what), []).append(chunk)
    codes = {code for code, _ in by_reason}
    others = f", {untried} were not tried" if untried else ""
    return TargetError(
        codes.pop() if len(codes) == 1 else "M380",
        f"{len(refused)} of {tried} chunks could not be loaded and are as they were{others}, the "
        "rest is in the ledger: "
        + "; ".join(f"{', '.join(of)}: {code} {what}" for (code, what), of in by_reason.items()),
        where=spec.qualified,
        fix="remove the causes and run again; chunks in the ledger are not copied twice",
    )
