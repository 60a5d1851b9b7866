"""Settings of the database: its address, its pools, and how long a statement may wait."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from memos_assets.settings.group import EMPTY_IS_UNSET, SettingsGroup


class DatabaseSettings(SettingsGroup):
    """The target database, and every connection to it, asynchronous or not."""

    database_url: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Address of a PostgreSQL >= 15 with pgvector >= 0.8; unset: the embedded "
        "server.",
    )
    pool_size: int = Field(
        default=10,
        ge=1,
        description="Connections that a pool keeps open, per process; enough for the calls at "
        "once.",
    )
    max_overflow: int = Field(
        default=20, ge=0, description="Connections that a pool may open beyond MEMOS_POOL_SIZE."
    )
    pool_recycle_seconds: int = Field(
        default=1800,
        ge=-1,
        description="Age in seconds at which a pool replaces a connection; -1: never.",
    )
    pool_timeout_seconds: float = Field(
        default=5, gt=0, description="Longest wait in seconds for a free connection of a pool."
    )
    lock_timeout_ms: int = Field(
        default=30_000,
        ge=0,
        description="Longest wait of a statement for a lock, in milliseconds; 0: no limit.",
    )
    backup: Literal["auto", "skip"] = Field(
        default="auto",
        description="auto: pg_dump a database that holds tables of others before the first write "
        "into it; skip: do not.",
    )
    application_tables: Literal["adopt", "create"] = Field(
        default="adopt",
        description="What happens to memOS's own tables. adopt: they are adopted in schema public "
        "where they are, now or later; create: they are created where there are none.",
    )
