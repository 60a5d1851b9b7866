"""Settings of alerts."""

from typing import Annotated

from pydantic import Field, SecretStr

from memos_assets.settings.group import EMPTY_IS_UNSET, SettingsGroup


class AlertSettings(SettingsGroup):
    """Where alerts are posted."""

    alert_webhook: Annotated[SecretStr | None, EMPTY_IS_UNSET] = Field(
        default=None,
        description="Address that each failed check is posted to once, as JSON; unset: none is "
        "posted.",
    )
