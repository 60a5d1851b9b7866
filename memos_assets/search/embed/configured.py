"""The embedder that the settings name."""

from memos_assets.errors import UsageError
from memos_assets.search.embed.blocking import BlockingEmbedder
from memos_assets.search.embed.embedder import AsyncEmbedder, Embedder
from memos_assets.search.embed.endpoints import (
    OLLAMA_URL,
    AsyncOllamaEmbedder,
    AsyncOpenAIEmbedder,
)
from memos_assets.search.embed.local import DeterministicEmbedder, ThreadedEmbedder
from memos_assets.search.embed.minilm import MiniLMEmbedder
from memos_assets.search.embed.models import same_model
from memos_assets.settings import Settings

_WHICH = "the one that wrote the table, such as mxbai-embed-large (memos-assets plan names them)"


def configured_embedder(settings: Settings) -> Embedder:
    """Return the embedder of `MEMOS_EMBEDDER`. It loads and connects when it first embeds.

    Raises:
        UsageError: M577 there is none, or something that it needs is not set.
    """
    return _local(settings) or BlockingEmbedder(_endpoint(settings))


def configured_next_embedder(settings: Settings) -> Embedder:
    """Return the embedder of `MEMOS_EMBEDDER_NEXT`, which is to replace the configured one.

    Raises:
        UsageError: M577 there is none, or something that it needs is not set.
    """
    kind, _, model = (settings.embedder_next or "").partition(":")
    if not kind:
        raise _lacks(
            "MEMOS_EMBEDDER_NEXT",
            "no embedder is set that would replace the current one",
            "set it to KIND:MODEL, such as ollama:bge-m3",
        )
    same = kind == settings.embedder
    changed = {
        "embedder": kind,
        "embedder_model": model or None,
        "embedder_dimension": None,
        "embedder_url": settings.embedder_url if same else None,
        "embedder_key": settings.embedder_key if same else None,
    }
    return configured_embedder(settings.model_copy(update=changed))


def configured_async_embedder(settings: Settings) -> AsyncEmbedder:
    """Return the same for asyncio; see `configured_embedder`."""
    local = _local(settings)
    return _endpoint(settings) if local is None else ThreadedEmbedder(local)


def _names(settings: Settings) -> tuple[str, str]:
    """Return the model's name at the endpoint, and the one that tables know it by."""
    served_as, equals, known_as = (settings.embedder_model or "").partition("=")
    return served_as, known_as if equals else served_as


def _local(settings: Settings) -> Embedder | None:
    """Return the embedder that needs no server, None where an endpoint is set."""
    _, model = _names(settings)
    if settings.embedder is None:
        raise UsageError(
            "M577",
            "no embedder is set, so text cannot become a vector",
            where="MEMOS_EMBEDDER",
            fix="set it to ollama, openai, minilm or deterministic; or search by words "
            "(--mode text) or from a row (--like KEY)",
        )
    if settings.embedder == "deterministic":
        return DeterministicEmbedder(
            settings.embedder_dimension or 1_024, model=model or "deterministic"
        )
    if settings.embedder == "minilm":
        if model and not same_model(model, MiniLMEmbedder.model):
            raise _lacks("MEMOS_EMBEDDER_MODEL", f"minilm is {MiniLMEmbedder.model}", "unset it")
        return MiniLMEmbedder()
    return None


def _endpoint(settings: Settings) -> AsyncOllamaEmbedder | AsyncOpenAIEmbedder:
    served_as, model = _names(settings)
    if not model or not served_as:
        raise _lacks(
            "MEMOS_EMBEDDER_MODEL", f"{settings.embedder} serves many models", f"set it to {_WHICH}"
        )
    kind = AsyncOllamaEmbedder if settings.embedder == "ollama" else AsyncOpenAIEmbedder
    url = settings.embedder_url or (OLLAMA_URL if settings.embedder == "ollama" else None)
    if url is None:
        raise _lacks(
            "MEMOS_EMBEDDER_URL",
            "no text leaves this machine without a configured address",
            "set it to the base address of the endpoint, such as http://127.0.0.1:8000/v1",
        )
    return kind(
        url,
        model,
        served_as=served_as,
        key=settings.embedder_key,
        dimension=settings.embedder_dimension,
        timeout_seconds=settings.embedder_timeout_seconds,
    )


def _lacks(where: str, what: str, fix: str) -> UsageError:
    return UsageError("M577", what, where=where, fix=fix)
