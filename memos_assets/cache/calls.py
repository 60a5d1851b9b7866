"""The remediation plan's interface over the cache: pages by address, results by query.

Functions of a session that acts for a user, see `entries.act_for`. The faces call them in short
transactions of their own.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.orm import Session

from memos_assets.cache import entries, leases, limits, statistics
from memos_assets.cache.entries import Entry, Vector
from memos_assets.cache.key import Key
from memos_assets.cache.namespaces import Namespace
from memos_assets.cache.storable import Computed, Refusal, Storable, storable

CONTENT: Final = "content"
QUERIES: Final = "queries"
#: The remediation plan's threshold of `find_similar_query`.
PLANNED_THRESHOLD: Final = 0.88


@dataclass(frozen=True, slots=True)
class Stored:
    """What came of a value that was to be stored.

    Attributes:
        stored: whether it was.
        refused: why it was not: by which rule, or ``unavailable``; "" where it was.
    """

    stored: bool
    refused: str = ""


def page(
    url: str,
    title: str | None,
    content: str,
    content_type: str,
    *,
    success: bool,
    error: str | None,
) -> Storable | Refusal:
    """Return a page as it is stored; one that could not be read is a negative answer.

    Its life is short, and the error is in it: a page that cannot be read now is not asked for
    again at once.
    """
    value = {
        "url": url,
        "title": title,
        "content": content,
        "content_type": content_type,
        "success": success,
        "error": error,
    }
    if success and not error:
        return storable(value)
    # A rule refuses errors as answers; this is the fact that there is no answer.
    made = storable({"page": value})
    return Storable(made.text, negative=True) if isinstance(made, Storable) else made


def page_of(entry: Entry) -> dict[str, Any]:
    """Return a page as it was stored."""
    value: dict[str, Any] = json.loads(entry.text)
    found: dict[str, Any] = value.get("page", value)
    return found


def put(
    session: Session,
    key: Key,
    made: Storable,
    namespace: Namespace,
    rng: Callable[[], float],
    *,
    ttl: float | None = None,
    vector: Vector | None = None,
) -> bool:
    """Store a value that no lease was taken for; false: its life is 0, or it is being evicted."""
    life = namespace.life(
        made.ttl if made.ttl is not None else ttl, negative=made.negative, rng=rng
    )
    if life <= 0:
        return False
    entries.act_for(session, key.scope.user, brief=True)
    if not leases.may_store(session, key):
        return False
    entries.store(session, key, made, life, namespace.grace, vector=vector)
    return True


def plain_value(entry: Entry) -> Any:
    """Return the value of an entry, as it was stored."""
    return json.loads(entry.text)


def plain_text(text: str) -> Any:
    """Return the value of a stored text."""
    return json.loads(text)


def result_of(entry: Entry, similarity: float | None = None) -> dict[str, Any]:
    """Return a stored result as memOS reads it: with where it is from."""
    value = json.loads(entry.text)
    found = dict(value) if isinstance(value, dict) else {"result": value}
    found["from_cache"] = True
    if similarity is not None:
        found["semantic_match"] = True
        found["matched_query"] = entry.query
        found["similarity_score"] = similarity
    return found


def result(value: Any) -> Storable | Refusal:
    """Return a result as it is stored: without what an earlier read has added."""
    said = value if isinstance(value, Computed) else Computed(value)
    added = {"from_cache", "semantic_match", "matched_query", "similarity_score"}
    if isinstance(said.value, dict) and added & said.value.keys():
        kept = {name: one for name, one in said.value.items() if name not in added}
        said = replace(said, value=kept)
    return storable(said)


def clean(session: Session, user: str | None) -> dict[str, int]:
    """Delete pages and results past their life and grace that a user sees; return how many."""
    entries.act_for(session, user)
    return limits.delete_batch(session, CONTENT, QUERIES)


def stats(session: Session, user: str | None) -> dict[str, Any]:
    """Return memOS's statistics, with hits, and misses by their reasons; nothing is written."""
    entries.act_for(session, user)
    found = statistics.statistics(session)
    shown: dict[str, Any] = {}
    for name, namespace in (("content_cache", CONTENT), ("query_cache", QUERIES)):
        one = found.get(namespace, statistics.NamespaceStats())
        shown[name] = {
            "total_entries": one.entries,
            "valid_entries": one.valid,
            "total_hits": one.uses,
            "hits": one.hits,
            "misses": one.misses,
            "hit_rate": one.hit_rate,
        }
    return shown
