"""Output on terminals and into files whose encoding lacks a character: it is shown otherwise."""

import codecs
import io
import sys
import unicodedata

#: Name of the error handler that standard output and standard error use.
HANDLER = "memos_assets.terminal"

#: Signs that commands print themselves, by the ASCII that says the same.
_ASCII = str.maketrans(
    {
        "\u2014": "-",
        "\u2013": "-",
        "\u2026": "...",
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u00d7": "x",
        "\u2192": "->",
        "\u2265": ">=",
        "\u2264": "<=",
        "\u2022": "*",
        "\u00a0": " ",
    }
)


def _shown(error: UnicodeError) -> tuple[str, int]:
    """Return what an encoding can show in place of characters that it lacks, and where to go on.

    Boxes become ASCII; any other character becomes its escape, from which it can be read again.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_shown_character, error.object[error.start : error.end])), error.end


def _shown_character(character: str) -> str:
    plain = character.translate(_ASCII)
    if plain.isascii():
        return plain
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return "-" if name.endswith("HORIZONTAL") else "|" if name.endswith("VERTICAL") else "+"
    if "\u2800" <= character <= "\u28ff":  # the spinner
        return "*"
    return character.encode("ascii", "backslashreplace").decode()


def show_what_can_be_shown() -> None:
    """Have standard output and standard error never fail for the encoding of a terminal."""
    codecs.register_error(HANDLER, _shown)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)
