"""Tables and lines at a terminal: names stay whole, and no line ends in blanks."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from memos_assets.cli.display import WordConsole, titled_table
from memos_assets.cli.listing import Listing, wrapped

NAMES = ("semantic_memory_connections", "fanuc_robotics_2026-11-28", "replace_characters")
MEANING = "the text holds a character that PostgreSQL cannot store, and nobody has decided on it"


def table() -> Listing:
    made = titled_table("Rejects")
    made.add_column("table", overflow="fold")
    made.add_column("source", overflow="fold")
    made.add_column("reason")
    made.add_column("rows", justify="right")
    made.add_column("what it means", overflow="fold")
    made.add_row(NAMES[0], Text(NAMES[1]), f"[red]{NAMES[2]}[/]", "1,234", MEANING)
    return made


def shown(one: object, width: int) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None)
    console.print(one, crop=False)
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [30, 60, 80, 100, 200])
def test_names_are_whole_and_lines_end_in_no_blanks(width: int) -> None:
    lines = shown(table(), width)
    for name in NAMES:
        assert sum(name in line for line in lines) == 1, lines
    assert " ".join(" ".join(lines).split()).count("1,234") == 1
    assert all(line == line.rstrip() for line in lines)
    longest = max(len(name) for name in NAMES) + 4
    assert all(len(line) <= max(width, longest + len("source: ")) for line in lines)


def test_what_does_not_fit_goes_below_with_its_title() -> None:
    lines = shown(table(), 60)
    assert "    reason: replace_characters" in lines
    assert any(line.startswith("    what it means: the text") for line in lines)


def test_a_wide_terminal_has_a_line_per_row() -> None:
    assert len(shown(table(), 200)) == 3


def test_only_a_snippet_is_cut() -> None:
    made = titled_table(None)
    made.add_column("key", overflow="fold", max_width=4)
    made.add_column("text", no_wrap=True, overflow="ellipsis", ratio=1)
    made.add_row("SRVO-062", "word " * 40)
    (_, line) = shown(made, 40)
    assert line.startswith("SRVO-062  word word")
    assert line.endswith("…")
    assert len(line) <= 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three", ["one two", "three"]),
        ("  - one two three", ["  - one", "two", "three"]),
        ("a-name-that-is-longer-than-a-line one", ["a-name-that-is-longer-than-a-line", "one"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("日本語 日本語", ["日本語", "日本語"]),
    ],
)
def test_lines_break_at_blanks_alone(text: str, expected: list[str]) -> None:
    assert [line.plain for line in wrapped(Text(text), 8)] == expected


@pytest.mark.parametrize(("columns", "lines"), [("30", 2), (None, 1)])
def test_columns_is_honoured_where_the_output_is_a_file(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    columns: str | None,
    lines: int,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    console = WordConsole()
    console.print("Report: a sentence of 45 characters, or so it is", soft_wrap=True)
    console.print("  memos-assets rejects decide --table corpus_entities --reason nul_character")
    out = capsys.readouterr().out.splitlines()
    if columns is not None:
        # A command line is whole, so that it can be copied.
        assert out[-1].endswith("nul_character")
        assert len(out) == lines + 1
