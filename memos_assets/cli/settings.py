"""The command settings: every setting as it is in effect, and where its value is from."""

from typing import Any

from pydantic import SecretStr
from rich.text import Text

from memos_assets.cli import verbosity
from memos_assets.cli.display import console, errors, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.settings import Settings, load_settings, unknown_variables
from memos_assets.settings.composed import variable_of


def settings(json_file: JsonFile = None) -> int:
    """Show settings in effect: those that were set, with -v all; secrets are masked.

    Exit code 1 if a variable that begins with MEMOS_ is not a setting.
    """
    effective = load_settings()
    described = [_described(effective, name) for name in Settings.model_fields]
    given = [one for one in described if one["source"] == "environment"]
    table = titled_table("Settings")
    for title in ("variable", "value", "from"):
        table.add_column(title, overflow="fold")
    for one in described if verbosity.is_verbose() else given:
        table.add_row(one["variable"], Text(_shown(one["value"])), one["source"])
    if table.row_count:
        console.print(table)
    left = len(described) - table.row_count
    if left:
        console.print(f"{left} others have their defaults: memos-assets -v settings")
    unknown = print_unknown()
    write_json(json_file, {"settings": described, "unknown_variables": unknown})
    return 1 if unknown else 0


def print_unknown() -> list[str]:
    """Name variables that begin with MEMOS_ and are not settings; return their names."""
    found = unknown_variables()
    for name, near in found.items():
        # Every command names those that are almost a setting.
        if near is None:
            fix = "unset it, or see memos-assets -v settings"
            errors.print(f"Note: {name} is not a setting. Fix: {fix}", markup=False, soft_wrap=True)
    return list(found)


def _described(effective: Settings, name: str) -> dict[str, Any]:
    value = getattr(effective, name)
    given = name in effective.model_fields_set
    return {
        "variable": variable_of(name),
        "value": _plain(value),
        "source": "environment" if given else "default",
        "meaning": Settings.model_fields[name].description,
    }


def _plain(value: object) -> object:
    """Return a value as JSON has it; a secret is masked."""
    if isinstance(value, SecretStr):
        return str(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    return value if isinstance(value, bool | int | float) or value is None else str(value)


def _shown(value: object) -> str:
    if value is None or value == []:
        return "unset"
    return ":".join(map(str, value)) if isinstance(value, list) else str(value)
