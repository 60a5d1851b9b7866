"""Settings of memory: the keys of memOS's encrypted content, and its golden queries."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from memos_assets.settings.group import ABSOLUTE, EMPTY_IS_UNSET, SettingsGroup


class MemorySettings(SettingsGroup):
    """Keys by which `public.memories.encrypted_content` is read and written."""

    encryption_key: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Passphrase that memOS has too, from which it derives its key; unset: what "
        "memOS wrote is read by MEMOS_MEMORY_KEYS alone.",
    )
    encryption_salt: str = Field(
        default="memOS_recovery_bot_salt_2024",
        description="Salt of that derivation; the default is the constant in memOS's source.",
    )
    memory_keys: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Fernet keys, the newest first, `:` between them. The first one encrypts; all "
        "of them, then memOS's, decrypt. Unset: memOS's key does both.",
    )
    golden_queries: Annotated[Path | None, EMPTY_IS_UNSET, ABSOLUTE] = Field(
        default=None,
        description="YAML file of questions whose answers are known, by which the quality of "
        "recalls is measured; unset: the ones that the project ships.",
    )
    cache_pairs: Annotated[Path | None, EMPTY_IS_UNSET, ABSOLUTE] = Field(
        default=None,
        description="JSONL file of pairs of questions with a label, one object a line: a, b, label "
        "(same or not), namespace if wanted. Thresholds of the cache are calibrated with them, "
        "with feedback and with shadow observations.",
    )
