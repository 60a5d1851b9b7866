"""Where data, state and databases are. The one reader of the environment."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memos_assets.errors import UsageError

#: The checkout: where pyproject.toml, dagster.yaml and sql/ lie.
PROJECT_ROOT = Path(__file__).resolve().parents[1]


Encoding = Literal["float16", "float32", "json_text", "json_blob"]
_ENCODING = re.compile(
    r"^(?P<source>.+)\.(?P<table>\w+)\.(?P<column>\w+)"
    r"=(?P<encoding>float16|float32|json_text|json_blob)$"
)
_ADDRESS = re.compile(r"https?://[^\s/@?#]+(/[^\s@?#]*)?")


class Settings(BaseSettings):
    """Every setting, from variables named ``MEMOS_<FIELD>``. Secrets print as ``**********``."""

    model_config = SettingsConfigDict(env_prefix="MEMOS_", extra="ignore", frozen=True)

    home: Path = Field(
        default=PROJECT_ROOT / ".memos",
        description="Embedded server's data, pinned copies, reports: all state.",
    )
    archive: Path | None = Field(
        default=None,
        description="Where retired files are moved, on their file system; unset: home/archive.",
    )
    archive_grace_days: int = Field(
        default=30, ge=0, description="Age at which a retired file may be purged."
    )
    database_url: SecretStr | None = Field(
        default=None, description="Any PostgreSQL >= 15 with pgvector >= 0.8; unset: embedded."
    )
    data: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Roots where a command names none: `DIR` or `NAME=PATH`, `:` between.",
    )
    pool_size: int = Field(default=10, ge=1, description="Connections kept open.")
    max_overflow: int = Field(default=20, ge=0, description="Connections beyond pool_size.")
    pool_recycle_seconds: int = Field(
        default=1800, ge=-1, description="Age at which it is replaced."
    )
    pool_timeout_seconds: float = Field(default=30, gt=0, description="Wait for a free connection.")
    lock_timeout_ms: int = Field(default=30_000, ge=0, description="Give up on a lock after this.")
    maintenance_work_mem_mb: int = Field(
        default=512,
        ge=16,
        description="Memory of all index builds together. Each takes what its graph needs; a graph "
        "that needs more is built on disk beyond it, many times slower.",
    )
    local_zone: str = Field(
        default="America/New_York",
        description="Zone of memOS's naive local timestamps (the scratchpad cache).",
    )
    encodings: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Embedding columns that hold another encoding than memOS writes: "
        "`SOURCE.TABLE.COLUMN=ENCODING`, `:` between.",
    )
    keep_versions_days: float = Field(
        default=7, ge=0, description="Former versions of the tables are kept this long."
    )
    swap_timeout_seconds: float = Field(
        default=60, gt=0, description="Wait for readers of the tables when another goes live."
    )
    backup: Literal["auto", "skip"] = Field(
        default="auto",
        description="auto: pg_dump a database with foreign tables before the first write into it.",
    )
    dagster_home: Path = Field(
        default=PROJECT_ROOT,
        validation_alias="DAGSTER_HOME",
        description="Folder of dagster.yaml; runs, events and schedules go where it says.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="Failed checks are posted here, once each."
    )
    embedder: Literal["ollama", "openai", "minilm", "deterministic"] | None = Field(
        default=None,
        description="What makes a vector of the text that somebody searches for; unset: nothing.",
    )
    embedder_model: str | None = Field(
        default=None,
        description="The model, by the name that tables know it by; `NAME=MODEL` where the "
        "endpoint calls it NAME. `deterministic` passes itself off as it.",
    )
    embedder_url: str | None = Field(
        default=None, description="Base address of the endpoint; Ollama's has its usual default."
    )
    embedder_key: SecretStr | None = Field(
        default=None, description="Bearer token for the endpoint; unset: none is sent."
    )
    embedder_dimension: int | None = Field(
        default=None,
        ge=1,
        le=16_000,
        description="Elements that vectors must have; `deterministic` gives as many (1,024).",
    )
    embedder_timeout_seconds: float = Field(
        default=60, gt=0, description="Wait for an endpoint, which may have to load the model."
    )

    @field_validator("data", "encodings", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(":") if part)
        return value

    @field_validator("encodings")
    @classmethod
    def _known_encodings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for declaration in value:
            if not _ENCODING.match(declaration):
                raise ValueError(
                    f"{declaration!r} is not SOURCE.TABLE.COLUMN=ENCODING, "
                    "with ENCODING one of float16, float32, json_text, json_blob"
                )
        return value

    @property
    def declared_encodings(self) -> Mapping[tuple[str, str, str], Encoding]:
        """(source, SQLite table, SQLite column) -> encoding, as `encodings` declares them."""
        found = filter(None, map(_ENCODING.match, self.encodings))
        return {
            (match["source"], match["table"], match["column"]): cast(Encoding, match["encoding"])
            for match in found
        }

    @field_validator("home", "archive")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @property
    def archive_folder(self) -> Path:
        """Where retired files are moved."""
        return self.archive or self.home / "archive"

    @property
    def pins_folder(self) -> Path:
        """Where pinned copies of sources are."""
        return self.home / "pins"

    @field_validator(
        *("database_url", "alert_webhook", "archive", "embedder", "embedder_model"),
        *("embedder_url", "embedder_key", "embedder_dimension"),
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("embedder_url")
    @classmethod
    def _address_without_secrets(cls, value: str | None) -> str | None:
        if value is not None and not _ADDRESS.fullmatch(value):
            raise ValueError(
                "it is not http://HOST:PORT/PATH, without user, password or query; a key belongs "
                "into MEMOS_EMBEDDER_KEY"
            )
        return value

    @field_validator("local_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(
                f"{value!r} is not an IANA time zone such as America/New_York"
            ) from error
        return value


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        UsageError: M501 when a variable does not parse; its value may be secret and is not shown.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]).upper()
        name = field if field.startswith("DAGSTER_") else f"MEMOS_{field}"
        raise UsageError(
            "M501", str(first["msg"]), where=name, fix=f"correct or unset {name}"
        ) from None


#: Events that Dagster writes at once where it can: those of a run's plan and of its chunks.
#: A small consolidation took 8.0 s with it and 9.7 s without (2026-11-22).
EVENT_BATCH = {"DAGSTER_EVENT_BATCH_SIZE": "100"}


def batch_dagster_events() -> None:
    """Have this process write Dagster's events in batches, unless it was told otherwise."""
    for name, value in EVENT_BATCH.items():
        os.environ.setdefault(name, value)  # noqa: TID251  this module alone knows the environment


def keep_models_offline() -> None:
    """Have Hugging Face's libraries use what is on disk, without a hub and without bars."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")  # noqa: TID251  as above


def environment_for_dagster(settings: Settings) -> dict[str, str]:
    """Return the environment in which Dagster's own commands find the same state."""
    return {
        **EVENT_BATCH,
        **os.environ,  # noqa: TID251  this module alone knows the environment
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MEMOS_HOME": str(settings.home),
    }


def environment_with_password(password: str | None) -> dict[str, str]:
    """Return the environment of a PostgreSQL program; arguments are seen by every process."""
    return {
        **os.environ,  # noqa: TID251  this module alone knows the environment
        **({} if password is None else {"PGPASSWORD": password}),
        "LC_ALL": "C",
    }
