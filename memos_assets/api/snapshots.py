"""Snapshots of memory: which there are, what each holds, whether it was verified.

Counts and digests of tables, and no row. Writing, restoring and verifying are for operators.
"""

import asyncio
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from memos_assets.api.dependencies import Visiting, answer, refusals
from memos_assets.settings import Settings
from memos_assets.snapshots.manifest import Manifest
from memos_assets.snapshots.marks import verified
from memos_assets.snapshots.reader import check_files
from memos_assets.snapshots.store import open_store

router = APIRouter(prefix="/api/v1/snapshots", tags=["snapshots"])


class Snapshot(BaseModel):
    """One snapshot."""

    id: str
    made_at: str
    label: str | None
    parent: str | None
    tables: int
    rows: int
    bytes: int
    verified_at: datetime | None


class SnapshotList(BaseModel):
    """Snapshots, the newest first."""

    snapshots: list[Snapshot]
    damaged: list[str]


class TableOfSnapshot(BaseModel):
    """One table of a snapshot."""

    table: str
    rows: int
    bytes: int
    digest: str


class WholeSnapshot(Snapshot):
    """A snapshot with its tables."""

    revision: str
    content: list[TableOfSnapshot]
    damaged: list[str]


@router.get("", response_model=SnapshotList, responses=refusals(), summary="List snapshots")
async def list_snapshots(visit: Visiting) -> Response:
    """Return all snapshots, the newest first; their files are not read."""
    await visit.rest()
    return answer(await asyncio.to_thread(snapshot_list, visit.doors.settings))


@router.get(
    "/{snapshot}", response_model=WholeSnapshot, responses=refusals(404), summary="Show a snapshot"
)
async def show(visit: Visiting, snapshot: str) -> Response:
    """Return what a snapshot holds, by its id, the beginning of it, or its label."""
    await visit.rest()
    return answer(await asyncio.to_thread(snapshot_content, visit.doors.settings, snapshot))


def snapshot_list(settings: Settings) -> dict[str, Any]:
    """Return the snapshots of the store as JSON."""
    store = open_store(settings.snapshots_location)
    whole, damaged = store.readable()
    marks = verified(store)
    return {
        "snapshots": [_line(one, marks.get(one.id)) for one in reversed(whole)],
        "damaged": [f"{error.code} {one}" for one, error in damaged.items()],
    }


def snapshot_content(settings: Settings, snapshot: str) -> dict[str, Any]:
    """Return what a snapshot holds as JSON.

    Raises:
        SnapshotError: M801 to M803 as `Store.manifest`.
    """
    store = open_store(settings.snapshots_location)
    manifest = store.manifest(snapshot)
    content = [
        {"table": one.qualified, "rows": one.rows, "bytes": one.bytes, "digest": one.digest}
        for one in manifest.tables
    ]
    return {
        **_line(manifest, verified(store).get(manifest.id)),
        "revision": manifest.revision,
        "content": content,
        "damaged": [error.code for error in check_files(store, manifest)],
    }


def _line(manifest: Manifest, verified_at: datetime | None) -> dict[str, Any]:
    return {
        "id": manifest.id,
        "made_at": manifest.latest.made_at,
        "label": manifest.label,
        "parent": manifest.parent,
        "tables": len(manifest.tables),
        "rows": manifest.rows,
        "bytes": sum(entry.bytes for entry in manifest.tables),
        "verified_at": verified_at,
    }
