"""Settings of the check of services' sources."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import NoDecode

from memos_assets.settings.group import COLON_SEPARATED, SettingsGroup


class SessionRuleSettings(SettingsGroup):
    """Which sources V42 checks, and where they may make sessions."""

    sessions_path: Annotated[tuple[str, ...], NoDecode, COLON_SEPARATED] = Field(
        default=(),
        description="Python files and folders whose use of sessions V42 checks, `:` between; "
        "unset: none.",
    )
    sessions_made_in: Annotated[tuple[str, ...], NoDecode, COLON_SEPARATED] = Field(
        default=(),
        description="Patterns of files among them that may make sessions, such as "
        "`core/database.py:scripts/*`.",
    )
