"""Settings of the embedder, which turns the text of a search into a vector."""

import re
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from memos_assets.settings.group import EMPTY_IS_UNSET, SettingsGroup

_ADDRESS = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")


class EmbedderSettings(SettingsGroup):
    """Which embedder, which model, and how it is reached."""

    embedder: Annotated[
        Literal["ollama", "openai", "minilm", "deterministic"] | None, EMPTY_IS_UNSET
    ] = Field(
        default=None,
        description="Embedder of the texts that are searched for: ollama, openai, minilm or "
        "deterministic; unset: searches by words alone.",
    )
    embedder_model: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Model, by its name in the tables; `NAME=MODEL` where the endpoint calls it "
        "NAME. `deterministic` reports this name as its own.",
    )
    embedder_next: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None,
        pattern=r"^(ollama|openai|minilm|deterministic)(:.+)?$",
        description="Embedder that is to replace this one in the memory of agents, `KIND:MODEL` "
        "such as `ollama:bge-m3`, while memories are re-embedded; address and key are those of "
        "this one where both are of a kind.",
    )
    embedder_url: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Base address of the endpoint; unset: http://127.0.0.1:11434 for ollama, none "
        "for openai.",
    )
    embedder_key: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None, description="Bearer token for the endpoint; unset: none is sent."
    )
    embedder_dimension: Annotated[int | None, EMPTY_IS_UNSET] = Field(
        default=None,
        ge=1,
        le=16_000,
        description="Elements that vectors must have; unset: as many as the model gives, 1,024 "
        "for deterministic.",
    )
    embedder_timeout_seconds: float = Field(
        default=60,
        gt=0,
        description="Longest wait in seconds for an endpoint, which may have to load the model.",
    )

    @field_validator("embedder_url")
    @classmethod
    def _address_without_secrets(cls, value: str | None) -> str | None:
        return address_without_secrets(value, "MEMOS_EMBEDDER_KEY")


def address_without_secrets(value: str | None, key: str) -> str | None:
    """Return the base address of an endpoint.

    Args:
        value: the address.
        key: variable of the setting that its key belongs into.

    Raises:
        ValueError: it has a user, a password or a query.
    """
    if value is not None and not _ADDRESS.fullmatch(value):
        raise ValueError(
            "the address is not http://HOST:PORT/PATH without user, password and query; a key "
            f"belongs into {key}"
        )
    return value
