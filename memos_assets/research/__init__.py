"""The research pipeline: a question becomes an answer that cites each of its sentences.

Cache, then search of the consolidated corpora and recall of memory, then findings on a board, their
contradictions, a synthesis that names the open ones, then memory, then the cache. The board is the
state of a run: a killed one goes on where it was. `Research` (asyncio) and `SyncResearch` are its
face. Works without a model; an LLM may write the synthesis, and what it cites is checked. How each
of these works is in the rooms below; no Dagster, no command line.
"""

from memos_assets.research.answer import Answer
from memos_assets.research.budget import Budget
from memos_assets.research.events import Event
from memos_assets.research.facade import Research
from memos_assets.research.generators import Generator, configured_generator
from memos_assets.research.sync_facade import SyncResearch

__all__ = [
    "Answer",
    "Budget",
    "Event",
    "Generator",
    "Research",
    "SyncResearch",
    "configured_generator",
]
