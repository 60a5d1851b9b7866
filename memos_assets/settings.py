"""Where data, state and databases are. The one reader of the environment."""

import os
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memos_assets.errors import UsageError

#: The checkout: where pyproject.toml, dagster.yaml and sql/ lie.
PROJECT_ROOT = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """Every setting, from variables named ``MEMOS_<FIELD>``. Secrets print as ``**********``."""

    model_config = SettingsConfigDict(env_prefix="MEMOS_", extra="ignore", frozen=True)

    home: Path = Field(
        default=PROJECT_ROOT / ".memos",
        description="Embedded server's data, pinned copies, reports: all state.",
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
        default=128, ge=16, description="Memory of one index build; past it a build goes to disk."
    )
    local_zone: str = Field(
        default="America/New_York",
        description="Zone of memOS's naive local timestamps (the scratchpad cache).",
    )
    dagster_home: Path = Field(
        default=PROJECT_ROOT,
        validation_alias="DAGSTER_HOME",
        description="Folder of dagster.yaml; runs, events and schedules go where it says.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None, description="Failed checks are posted here, once each."
    )

    @field_validator("data", mode="before")
    @classmethod
    def _split_roots(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part for part in value.split(":") if part)
        return value

    @field_validator("home")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @field_validator("database_url", "alert_webhook", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

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


def environment_for_dagster(settings: Settings) -> dict[str, str]:
    """Return the environment in which Dagster's own commands find the same state."""
    return {
        **EVENT_BATCH,
        **os.environ,  # noqa: TID251  this module alone knows the environment
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MEMOS_HOME": str(settings.home),
    }
