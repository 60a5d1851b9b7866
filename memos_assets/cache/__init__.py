"""The cache of agents: answers by their key and by their meaning, computed once per miss.

`Cache` (asyncio) and `SyncCache` are its face. They are given what makes sessions and commit short
transactions of their own. Whatever is wrong with the cache, a caller gets the value or the error of
its own computation. No Dagster, no command line.
"""

from memos_assets.cache.answer import Answer
from memos_assets.cache.facade import Cache, SyncCache
from memos_assets.cache.key import Scope
from memos_assets.cache.namespaces import Namespace
from memos_assets.cache.storable import Computed

__all__ = ["Answer", "Cache", "Computed", "Namespace", "Scope", "SyncCache"]
