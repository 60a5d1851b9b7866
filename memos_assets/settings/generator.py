"""Settings of the generator, which may write the synthesis of the research pipeline."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from memos_assets.settings.embedder import address_without_secrets
from memos_assets.settings.group import EMPTY_IS_UNSET, SettingsGroup


class GeneratorSettings(SettingsGroup):
    """Which language model writes answers, and how it is reached."""

    generator: Annotated[Literal["ollama", "openai"] | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Language model that writes the answers of `ask`: ollama or openai; unset: "
        "answers are sentences of their sources.",
    )
    generator_model: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None, description="Model, by its name at the endpoint, such as `llama3.1:8b`."
    )
    generator_url: Annotated[str | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Base address of the endpoint; unset: http://127.0.0.1:11434 for ollama, none "
        "for openai.",
    )
    generator_key: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None, description="Bearer token for the endpoint; unset: none is sent."
    )
    generator_timeout_seconds: float = Field(
        default=20,
        gt=0,
        description="Longest wait in seconds for an answer; then it is made of sentences of its "
        "sources.",
    )

    @field_validator("generator_url")
    @classmethod
    def _address_without_secrets(cls, value: str | None) -> str | None:
        return address_without_secrets(value, "MEMOS_GENERATOR_KEY")
