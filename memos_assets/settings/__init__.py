"""Every setting, and the one reader of the environment.

One class per group of settings; `Settings` composes them. A new group is a module with a class, and
a base of `Settings`. Variables are named ``MEMOS_<FIELD>``, in whatever group the field is.
"""

from memos_assets.installation import PROJECT_ROOT
from memos_assets.settings.composed import Settings, load_settings
from memos_assets.settings.environment import (
    batch_dagster_events,
    environment_for_dagster,
    environment_with_password,
    unknown_variables,
)

__all__ = [
    "PROJECT_ROOT",
    "Settings",
    "batch_dagster_events",
    "environment_for_dagster",
    "environment_with_password",
    "load_settings",
    "unknown_variables",
]
