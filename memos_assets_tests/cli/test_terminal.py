"""Output falls back to what a terminal can show."""

import io
import sys

import pytest
import typer
from typer.main import get_command

from memos_assets.cli.display import console
from memos_assets.cli.main import run

TEXT = "caf\u00e9 \u2014 \u65e5\u672c \u2026 \u250c\u2500\u2502 \U0001f600 \udce9"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"caf\xe9 - \u65e5\u672c ... +-| \U0001f600 \udce9"),
        ("latin-1", b"caf\xe9 - \\u65e5\\u672c ... +-| \\U0001f600 \\udce9"),
        ("utf-8", TEXT[:-1].encode() + rb"\udce9"),
    ],
)
def test_a_terminal_shows_what_its_encoding_has(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))

    def program(_: object) -> object:
        app = typer.Typer()
        app.command()(lambda: console.print(TEXT, markup=False))
        return get_command(app)

    monkeypatch.setattr("memos_assets.cli.main.program", program)
    assert run([]) == 0
    sys.stdout.flush()
    assert written.getvalue().rstrip(b"\n") == expected
