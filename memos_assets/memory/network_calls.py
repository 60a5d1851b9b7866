"""The network's part of `Memory` and `SyncMemory`: one line for each operation."""

from collections.abc import Awaitable, Callable
from functools import update_wrapper
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from memos_assets.memory import explicit_links, network, network_value, provenance
from memos_assets.memory import proposals as proposing
from memos_assets.memory import traverse as traversal

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def _awaited(
    operation: Callable[Concatenate[Session, Arguments], Answer],
) -> Callable[Concatenate[Any, AsyncSession, Arguments], Awaitable[Answer]]:
    """Return the method that runs an operation in the caller's asynchronous session."""

    async def method(
        _self: Any, session: AsyncSession, /, *args: Arguments.args, **named: Arguments.kwargs
    ) -> Answer:
        return await session.run_sync(operation, *args, **named)

    update_wrapper(method, operation)
    return method


class NetworkCalls:
    """For asyncio."""

    get = _awaited(network.get)
    get_connected = _awaited(network.get_connected)
    find_similar = _awaited(network.find_similar)
    find_similar_with_decay = _awaited(network.find_similar_with_decay)
    boost = _awaited(network.boost)
    stats = _awaited(network.stats)
    connect = _awaited(explicit_links.connect)
    disconnect = _awaited(explicit_links.disconnect)
    traverse = _awaited(traversal.traverse)
    derive = _awaited(provenance.derive)
    trust_of = _awaited(provenance.trust_of)
    retract_source = _awaited(provenance.retract_source)
    restore_source = _awaited(provenance.restore_source)
    consolidate = _awaited(proposing.consolidate)
    proposals = _awaited(proposing.proposals)
    apply = _awaited(proposing.apply)
    dismiss = _awaited(proposing.dismiss)
    undo = _awaited(proposing.undo)
    load = _awaited(network_value.load)
    persist = _awaited(network_value.persist)


class SyncNetworkCalls:
    """Without asyncio."""

    get = staticmethod(network.get)
    get_connected = staticmethod(network.get_connected)
    find_similar = staticmethod(network.find_similar)
    find_similar_with_decay = staticmethod(network.find_similar_with_decay)
    boost = staticmethod(network.boost)
    stats = staticmethod(network.stats)
    connect = staticmethod(explicit_links.connect)
    disconnect = staticmethod(explicit_links.disconnect)
    traverse = staticmethod(traversal.traverse)
    derive = staticmethod(provenance.derive)
    trust_of = staticmethod(provenance.trust_of)
    retract_source = staticmethod(provenance.retract_source)
    restore_source = staticmethod(provenance.restore_source)
    consolidate = staticmethod(proposing.consolidate)
    proposals = staticmethod(proposing.proposals)
    apply = staticmethod(proposing.apply)
    dismiss = staticmethod(proposing.dismiss)
    undo = staticmethod(proposing.undo)
    load = staticmethod(network_value.load)
    persist = staticmethod(network_value.persist)
