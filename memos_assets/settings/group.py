"""The base of every group of settings."""

from pathlib import Path

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsGroup(BaseSettings):
    """Settings that belong together, from variables ``MEMOS_<FIELD>``; they do not change.

    Each field has one description, from which the documentation is made. Secrets are `SecretStr`
    and print as ``**********``.
    """

    model_config = SettingsConfigDict(env_prefix="MEMOS_", extra="ignore", frozen=True)


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _parts(value: object) -> object:
    return tuple(filter(None, value.split(":"))) if isinstance(value, str) else value


def _absolute(value: Path | None) -> Path | None:
    return None if value is None else value.expanduser().absolute()


#: A variable that is set to nothing is not set.
EMPTY_IS_UNSET = BeforeValidator(_none_if_empty)
#: A list, with a colon between its parts.
COLON_SEPARATED = BeforeValidator(_parts)
#: ``~`` and relative paths are resolved when the variable is read.
ABSOLUTE = AfterValidator(_absolute)
