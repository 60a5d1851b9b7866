"""Help: from stored pages, without importing a command; examples, variables, completion."""

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.core import TyperGroup

from memos_assets.cli import help_page, stored_help
from memos_assets.cli.commands import COMMANDS, JOBS
from memos_assets.cli.help_page import page_of
from memos_assets.cli.main import assemble, get_group
from memos_assets.cli.usage import EXAMPLES, names_of_variables
from memos_assets.settings.composed import Settings, variable_of
from memos_assets_tests.cli.conftest import Command

PROGRAM = assemble(None)
WALKED = list(stored_help.walked(PROGRAM))
LEAVES = [path for path, command, _ in WALKED if not isinstance(command, TyperGroup)]
VARIABLES = {variable_of(name) for name in Settings.model_fields}


def imported_by(*arguments: str) -> set[str]:
    """Return the modules that a command line imports in a fresh process."""
    program = (
        "import sys\n"
        "from memos_assets.cli.main import run\n"
        f"run({list(arguments)!r})\n"
        "sys.stderr.write(' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [("--help",), ("retire", "-h"), ("memory", "models", "-h")])
def test_help_imports_no_command_and_no_room_of_ours(arguments: Sequence[str]) -> None:
    found = imported_by(*arguments)
    heavy = {"dagster", "sqlalchemy", "pydantic_settings", "pyarrow", "alembic", "numpy"}
    assert found & heavy == set()
    modules = {f"memos_assets.cli.{place.partition(':')[0]}" for place in COMMANDS.values()}
    assert found & modules == set()


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize("path", [(), *LEAVES], ids=" ".join)
def test_stored_help_is_the_help_of_the_command(
    memos_assets: Command, monkeypatch: pytest.MonkeyPatch, path: tuple[str, ...], option: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    expected = next(page_of(one, ctx) for found, one, ctx in WALKED if found == path)
    code, out, err = memos_assets(*path, option)
    assert (code, err) == (0, "")
    assert out == expected.shown(80)


def test_help_fits_a_terminal_of_80_columns_and_of_60() -> None:
    for path, command, ctx in WALKED:
        page = page_of(command, ctx)
        for width in (80, 60):
            lines = page.shown(width).splitlines()
            examples = {f"  {line}" for line, _ in page.examples}
            long = [line for line in lines if len(line) > width and line not in examples]
            # A name that is longer than a line is whole.
            assert [line for line in long if len(line.split()) > 1 and width == 80] == [], path
            assert [line for line in lines if line != line.rstrip()] == [], path


def test_help_that_modules_have_outrun_is_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = json.loads(stored_help.FILE.read_text("utf-8"))
    content["modules"]["data.py"] = "another digest"
    (tmp_path / "help.json").write_text(json.dumps(content))
    (tmp_path / "data.py").write_text("")
    monkeypatch.setattr(stored_help, "FILE", tmp_path / "help.json")
    assert stored_help.read() is None


def test_a_value_that_looks_like_help_is_a_value(memos_assets: Command, home: Path) -> None:
    assert home
    code, out, err = memos_assets("explain", "--", "--help")
    assert (code, out) == (2, "")
    assert "M509" in err


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_has_an_example_that_parses(path: tuple[str, ...]) -> None:
    for line, meaning in EXAMPLES[" ".join(path)]:
        assert meaning
        if not line.startswith("memos-assets "):
            continue
        words = [word for word in shlex.split(line)[1:] if word != "-v"]
        assert tuple(words[: len(path)]) == path
        command = get_group(PROGRAM)
        for name in path:
            assert isinstance(command, TyperGroup)
            command = command.commands[name]  # type: ignore[assignment]
        command.make_context(" ".join(path), words[len(path) :])


def test_examples_are_of_commands_that_exist() -> None:
    assert {tuple(name.split()) for name in EXAMPLES if name} == set(LEAVES)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_variables_of_a_command_are_settings(path: tuple[str, ...]) -> None:
    assert set(names_of_variables(path)) <= VARIABLES


def test_the_list_of_commands_is_by_job(memos_assets: Command) -> None:
    _, out, _ = memos_assets("-h")
    headings = [line.rstrip(":") for line in out.splitlines() if line.endswith(":")]
    assert headings[: len(JOBS)] == list(JOBS)
    assert "Exit codes" in headings
    assert "Examples" in headings


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("memos-assets ret", ["retire"]),
        ("memos-assets rejects decide --ru", ["--rule"]),
        ("memos-assets search --mode ", ["hybrid", "text", "vector"]),
        ("memos-assets memory models re", ["register", "re-embed"]),
    ],
)
def test_a_shell_completes_commands_options_and_choices(words: str, expected: list[str]) -> None:
    environment = {
        "_MEMOS_ASSETS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(
        [sys.executable, "-m", "memos_assets"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == sorted(expected)


def test_completion_can_be_shown(
    memos_assets: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The shell that runs the tests is none that has completion.
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    with pytest.raises(SystemExit):
        memos_assets("--show-completion", "bash")
    assert "_MEMOS_ASSETS_COMPLETE=complete_bash" in capsys.readouterr().out


def test_a_long_word_is_never_broken() -> None:
    page = help_page.Page((), "", "one " + "x" * 90 + " two", (), (), (), (), ())
    assert "x" * 90 in page.shown(80).splitlines()[3]
