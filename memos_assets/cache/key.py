"""The key of an answer: everything that must be the same for the answer to be the same.

Namespace, tenant, user, fingerprint of the conversation, model, parameters, version of the pipeline
and the query. Two keys differ if one of them does; parts are told apart by their JSON, so no text
of one can be taken for the end of another.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from memos_assets.postgres.storable_text import is_storable

_VERSION: Final = 1
_PARAMETERS: Final = json.JSONEncoder(sort_keys=True, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose answer it is, and what else it depends on beside the query.

    Attributes:
        user: their id; None: the answer is of all users of the tenant.
        conversation: fingerprint of what was said before; None: the answer does not depend on it.
        tenant: the organisation; None: there is one.
        model: that answers, such as ``llama3.1:8b``.
        parameters: of the call, such as a temperature; any JSON.
        version: of the pipeline that computes; another one never matches.
    """

    user: str | None = None
    conversation: str | None = None
    tenant: str | None = None
    model: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""


SHARED: Final = Scope()


@dataclass(frozen=True, slots=True)
class Key:
    """Where an answer is.

    Attributes:
        namespace: of the answer.
        scope: whose it is.
        query: as it is compared: NFC, with single spaces.
        digest: 32 bytes of all of it.
        scope_digest: 32 bytes of it without the query.
    """

    namespace: str
    scope: Scope
    query: str
    digest: bytes
    scope_digest: bytes


def key_of(namespace: str, query: str, scope: Scope) -> Key | None:
    """Return the key of a query; None: it cannot have one, and is not cached.

    A query that is empty or is not text has none, and neither have NUL, lone surrogates, parameters
    that JSON cannot say, and a namespace that is not text.
    """
    if not isinstance(query, str) or not isinstance(namespace, str):
        return None
    normal = " ".join(unicodedata.normalize("NFC", query).split())
    parts = (namespace, scope.tenant, scope.user, scope.conversation, scope.model, scope.version)
    if not normal or not all(one is None or is_storable(one) for one in (*parts, normal)):
        return None
    try:
        parameters = _PARAMETERS.encode(scope.parameters)
    except (TypeError, ValueError, RecursionError):
        return None
    scope_digest = digest(_VERSION, *parts, parameters)
    return Key(namespace, scope, normal, digest(scope_digest.hex(), normal), scope_digest)


def digest(*parts: str | int | None) -> bytes:
    """Return 32 bytes of parts that cannot run into each other."""
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def pair_digest(namespace: str, asked: str, matched: str) -> bytes:
    """Return 32 bytes of two queries, in either order."""
    return digest(namespace, *sorted((asked, matched)))
