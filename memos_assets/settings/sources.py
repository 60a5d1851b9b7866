"""Settings of the SQLite files that are read."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from memos_assets.settings.group import COLON_SEPARATED, SettingsGroup

Encoding = Literal["float16", "float32", "json_text", "json_blob"]
#: One declaration of MEMOS_ENCODINGS.
_DECLARATION = re.compile(
    r"^(?P<source>.+)\.(?P<table>\w+)\.(?P<column>\w+)"
    r"=(?P<encoding>float16|float32|json_text|json_blob)$"
)


class SourceSettings(SettingsGroup):
    """Where SQLite files are, and how stored values are read that do not say so themselves."""

    data: Annotated[tuple[str, ...], NoDecode, COLON_SEPARATED] = Field(
        default=(),
        description="Roots of the SQLite files for commands without --data: `DIR` or `NAME=PATH`, "
        "`:` between.",
    )
    local_zone: str = Field(
        default="America/New_York",
        description="IANA time zone of memOS's naive local timestamps (the scratchpad cache).",
    )
    encodings: Annotated[tuple[str, ...], NoDecode, COLON_SEPARATED] = Field(
        default=(),
        description="Embedding columns that hold another encoding than memOS writes: "
        "`SOURCE.TABLE.COLUMN=ENCODING`, `:` between.",
    )

    @field_validator("encodings")
    @classmethod
    def _known_encodings(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for declaration in value:
            if not _DECLARATION.match(declaration):
                raise ValueError(
                    f"{declaration!r} is not SOURCE.TABLE.COLUMN=ENCODING, "
                    "with ENCODING one of float16, float32, json_text, json_blob"
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

    @property
    def declared_encodings(self) -> Mapping[tuple[str, str, str], Encoding]:
        """(source, SQLite table, SQLite column) -> encoding, as `encodings` declares them."""
        found = filter(None, map(_DECLARATION.match, self.encodings))
        return {
            (match["source"], match["table"], match["column"]): cast(Encoding, match["encoding"])
            for match in found
        }
