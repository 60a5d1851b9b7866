"""Boards: findings, contradictions and questions of agents that work together, in one order.

`Board` (asyncio) and `SyncBoard` are its face. They are given what makes sessions, and each post is
a short transaction of its own, so that no agent waits for the work of another; `enqueue` alone
belongs to the caller's transaction, and is numbered after its commit. Records of contradictions are
kept here; how they are found is not. No Dagster, no command line, no model.
"""

from memos_assets.blackboard.facade import Board
from memos_assets.blackboard.posting import Conflict, Posted
from memos_assets.blackboard.reading import Entry, Event, State
from memos_assets.blackboard.requests import Request
from memos_assets.blackboard.sync_facade import SyncBoard

__all__ = ["Board", "Conflict", "Entry", "Event", "Posted", "Request", "State", "SyncBoard"]
