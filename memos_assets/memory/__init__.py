"""Memory of agents: remembered, recalled, linked and dated in the caller's session.

`Memory` (asyncio) and `SyncMemory` are its face. Every other function here is given a session,
executes on it, and leaves commit, rollback and close to the caller. No model is called while a
session is in use. No Dagster, no command line; evaluation and hooks of Dagster are in `defs`.
"""

from memos_assets.memory.facade import Memory, SyncMemory
from memos_assets.memory.prepared import Asked, Prepared
from memos_assets.memory.remember import Kept
from memos_assets.memory.sessions import (
    open_memory_sessions,
    open_sync_memory_sessions,
    sessions_for,
    sync_sessions_for,
)

__all__ = [
    "Asked",
    "Kept",
    "Memory",
    "Prepared",
    "SyncMemory",
    "open_memory_sessions",
    "open_sync_memory_sessions",
    "sessions_for",
    "sync_sessions_for",
]
