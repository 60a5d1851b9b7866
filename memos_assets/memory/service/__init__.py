"""memOS's MemoryService and quests, on memOS's own tables in `public`, in the caller's session.

`privacy` and `therapeutic` have memOS's rules as data; `prepared` makes a memory ready outside of a
transaction; `store`, `read` and `ranked` write, read and search; `quests` completes quests with
their milestone memories; `waiting` embeds what was stored without an embedding; `crypto` has the
keys, `rotation` changes them. Rows of `agent.memories`
are not handled here.
"""

from memos_assets.memory.service.facade import MemoryService
from memos_assets.memory.service.prepared import PreparedMemory, SearchQuery
from memos_assets.memory.service.ranked import MemorySearchResult
from memos_assets.memory.service.records import StoredMemory
from memos_assets.memory.service.values import MemoryType, PrivacyLevel, RecoveryStage

__all__ = [
    "MemorySearchResult",
    "MemoryService",
    "MemoryType",
    "PreparedMemory",
    "PrivacyLevel",
    "RecoveryStage",
    "SearchQuery",
    "StoredMemory",
]
