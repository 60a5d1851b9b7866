"""All settings together."""

from pydantic import ValidationError

from memos_assets.errors import UsageError
from memos_assets.settings.alerts import AlertSettings
from memos_assets.settings.api import ApiSettings
from memos_assets.settings.database import DatabaseSettings
from memos_assets.settings.embedder import EmbedderSettings
from memos_assets.settings.generator import GeneratorSettings
from memos_assets.settings.memory import MemorySettings
from memos_assets.settings.retention import RetentionSettings
from memos_assets.settings.session_rules import SessionRuleSettings
from memos_assets.settings.sources import SourceSettings
from memos_assets.settings.state import StateSettings
from memos_assets.settings.upkeep import UpkeepSettings


class Settings(
    StateSettings,
    DatabaseSettings,
    SourceSettings,
    EmbedderSettings,
    GeneratorSettings,
    MemorySettings,
    SessionRuleSettings,
    UpkeepSettings,
    RetentionSettings,
    ApiSettings,
    AlertSettings,
):
    """Every setting, from variables named ``MEMOS_<FIELD>``. Secrets print as ``**********``."""


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        UsageError: M501 when a variable does not parse; its value may be secret and is not shown.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = variable_of(str(first["loc"][0]))
        raise UsageError(
            "M501", str(first["msg"]), where=name, fix=f"correct or unset {name}"
        ) from None


def variable_of(field: str) -> str:
    """Return the environment variable of a field, which may be named by its alias."""
    described = Settings.model_fields.get(field)
    alias = field if described is None else described.validation_alias
    return alias if isinstance(alias, str) else f"MEMOS_{field.upper()}"
