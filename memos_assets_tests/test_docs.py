"""Pages name files, modules, commands, options and targets that exist."""

import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperCommand, TyperGroup

from memos_assets.cli.main import assemble
from memos_assets.settings import PROJECT_ROOT

PAGES = [
    "README.md",
    *sorted(p.relative_to(PROJECT_ROOT).as_posix() for p in PROJECT_ROOT.glob("docs/**/*.md")),
]
#: Where a path of a page may start.
ROOTS = [PROJECT_ROOT / folder for folder in ("", "memos_assets", "memos_assets_tests")]
FOLDERS = (
    "memos_assets",
    "memos_assets_tests",
    "docs",
    "sql",
    "bench",
    "eval",
    "faults",
    "tamper",
    "tools",
)
MOST_PICTURE_BYTES = 200_000

Command = TyperCommand | TyperGroup
PROGRAM = typer.main.get_group(assemble(None))

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_BLOCK = re.compile(r"(?:^ {4}.*\n)+|^```\w*\n(?P<fenced>(?s:.*?))^```", re.MULTILINE)
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_MODULE = re.compile(
    r"(?:memos_assets|memos_assets_tests|bench|eval|faults|tamper|tools)(?:\.[A-Za-z_]\w*)+"
)
_MAKE = re.compile(r"^\s*(?:\$ )?make ([a-z][a-z-]*)", re.MULTILINE)
_COMMAND = re.compile(r"(?:^|\bbin/)memos-assets +(.+)", re.MULTILINE)


def text_of(page: str) -> str:
    return (PROJECT_ROOT / page).read_text("utf-8")


def code_of(page: str) -> Iterator[str]:
    """Return every code span and every line of a code block."""
    text = text_of(page)
    for block in _BLOCK.finditer(text):
        yield from (block["fenced"] or block[0]).splitlines()
    for span in _SPAN.findall(_BLOCK.sub("", text)):
        yield " ".join(span.split())


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#{1,6} (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_named(words: list[str]) -> tuple[Command, list[str]] | None:
    """Return the command that some words begin with, and the words after it."""
    command: Command = PROGRAM
    names = 0
    while isinstance(command, TyperGroup) and words[names : names + 1]:
        inner = command.commands.get(words[names])
        if not isinstance(inner, Command):
            break
        command, names = inner, names + 1
    return (command, words[names:]) if names else None


def unknown_options(command: Command, words: list[str]) -> list[str]:
    known = {name for param in command.params for name in param.opts}
    options = [word.split("=")[0].rstrip(",;.") for word in words if word.startswith("--")]
    return [option for option in options if option not in known | {"--help"}]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_to_a_file_and_an_anchor(page: str) -> None:
    for target in _LINK.findall(text_of(page)):
        file, _, anchor = target.partition("#")
        path = (PROJECT_ROOT / page).parent / file if file else PROJECT_ROOT / page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), target


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    for code in code_of(page):
        if not _PATH.fullmatch(code) or "/" not in code:
            continue
        is_ours = code.split("/")[0] in FOLDERS or code.endswith(".py")
        assert not is_ours or any((root / code).exists() for root in ROOTS), code


@pytest.mark.parametrize("page", PAGES)
def test_every_module_that_a_page_names_exists(page: str) -> None:
    for code in code_of(page):
        for name in _MODULE.findall(code):
            assert pkgutil.resolve_name(name) is not None, name


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_exists_with_its_options(page: str) -> None:
    for code in code_of(page):
        for line in _COMMAND.findall(code):
            words = line.split("#")[0].split()
            # COMMAND stands for any; an option may stand alone.
            if words[0] == "COMMAND" or words[0].startswith("-"):
                continue
            named = command_named(words)
            assert named is not None, code
            assert unknown_options(*named) == [], code
        words = code.split()
        # A command without the program's name before it, such as `consolidate --swap`.
        named = command_named(words) if any(word.startswith("--") for word in words) else None
        assert named is None or unknown_options(*named) == [], code


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text_of("Makefile"), re.MULTILINE))
    named = {target for code in code_of(page) for target in _MAKE.findall(code)}
    assert named <= targets


def test_the_pages_are_read_at_all() -> None:
    code = list(code_of("README.md"))
    assert any(line.startswith("    make demo ") for line in code)
    assert "consolidate --data DIR --swap" in code
    assert len(PAGES) > 15


def test_the_readme_lists_every_command() -> None:
    spans = {word for code in code_of("README.md") for word in code.split()}
    assert set(PROGRAM.commands) <= spans


def test_the_readme_is_a_page_with_small_pictures() -> None:
    readme = text_of("README.md")
    assert len(readme.splitlines()) <= 150
    pictures = re.findall(r"!\[[^\]]+\]\((docs/pictures/\w+\.png)\)", readme)
    assert len(pictures) == 2
    for picture in pictures:
        assert (PROJECT_ROOT / picture).stat().st_size < MOST_PICTURE_BYTES


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("consolidate --data DIR --swap", []),
        ("consolidate --swop", ["--swop"]),
        ("rejects list --all", []),
        ("rejects list --every", ["--every"]),
    ],
)
def test_an_option_that_a_command_lacks_is_found(line: str, wrong: list[str]) -> None:
    named = command_named(line.split())
    assert named is not None
    assert unknown_options(*named) == wrong


def test_a_command_that_does_not_exist_is_none() -> None:
    assert command_named(["consolidated", "--swap"]) is None
