"""The help of a command: usage, options, examples, exit codes, variables, at any width.

`Command` and `Group` are what the commands of the program are made of. What the help says of an
option is where the option is declared; examples and variables are in `usage`.
"""

import inspect
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from memos_assets.cli import verbosity
from memos_assets.cli.commands import JOBS
from memos_assets.cli.usage import EXAMPLES, variables_of

PROGRAM = "memos-assets"
EXIT_CODES = (
    ("0", "done, or proven"),
    ("1", "something failed, is unproven, or is left to do"),
    ("2", "wrong use, or input that cannot be used"),
    ("130", "interrupted"),
)
#: Options that every command has: the root explains them, and others name them in one line.
_AND_EVERYWHERE = "Also: -h, --help; -v, --verbose; -q, --quiet."
#: Characters of a line, at most and at least, and of the names beside which a meaning fits.
_WIDEST, _NARROWEST, _NAMES = 100, 40, 28
#: How the help calls the value of an option that does not name it.
_VALUES = {"<int>": "N", "<int range>": "N", "<float>": "N", "<float range>": "N", "<str>": "TEXT"}
_VALUES |= {"<path>": "PATH"}

#: A name and its meaning.
Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """What the help of one command says.

    Attributes:
        path: words that call the command; none: the program.
        usage: what follows them.
        text: paragraphs about it.
        arguments: and their meanings.
        options: and their meanings.
        commands: of a group, by job; "" where jobs are not told apart.
        examples: command lines, and what each does.
        variables: of the environment, with their meanings.
    """

    path: tuple[str, ...]
    usage: str
    text: str
    arguments: tuple[Row, ...]
    options: tuple[Row, ...]
    commands: tuple[tuple[str, tuple[Row, ...]], ...]
    examples: tuple[Row, ...]
    variables: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the page as JSON; `from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Page":
        """Return the page that `as_json` wrote."""
        return cls(**{name: _tuples(value) for name, value in content.items()})

    def shown(self, width: int) -> str:
        """Return the page in lines of a width.

        Args:
            width: of the terminal; lines are no longer than 100, and no word is broken.
        """
        width = max(_NARROWEST, min(width, _WIDEST))
        return "\n".join(_lines(self, width)) + "\n"


class Command(TyperCommand):
    """A command whose help is a `Page`, with the options that every command has."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params = _with_common(self.params)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page at the width of the terminal."""
        formatter.write(page_of(self, ctx).shown(_width(ctx)))


class Group(TyperGroup):
    """A group of commands whose help is a `Page`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.params = _with_common(self.params)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page at the width of the terminal."""
        formatter.write(page_of(self, ctx).shown(_width(ctx)))


class CommandGroup(typer.Typer):
    """Commands under one name, made of `Command` and `Group`."""

    def __init__(self, about: str, **options: Any) -> None:
        super().__init__(
            cls=Group, help=about, no_args_is_help=True, rich_markup_mode=None, **options
        )

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Return the decorator that adds a command."""
        return super().command(name, **{"cls": Command, **options})


@cache
def _common() -> tuple[Any, ...]:
    """Return the options that every command has, as Typer makes them."""
    app = typer.Typer(add_completion=False)
    app.command()(verbosity.options)
    return tuple(get_command(app).params)


def _with_common(params: Sequence[Any]) -> list[Any]:
    taken = {name for param in params for name in param.opts}
    return [*params, *(one for one in _common() if not taken.intersection(one.opts))]


def _width(ctx: Any) -> int:
    """Return the columns of the terminal, or of COLUMNS."""
    return ctx.terminal_width or shutil.get_terminal_size((80, 24)).columns


def page_of(command: Any, ctx: Any) -> Page:
    """Return the page of a command, from its declaration.

    Args:
        command: made of `Command` or `Group`; one that was stored brings its page.
        ctx: its context, which knows the words that call it.
    """
    if (stored := getattr(command, "page", None)) is not None:
        assert isinstance(stored, Page)
        return stored
    path = tuple(ctx.command_path.split()[1:]) if ctx.parent else ()
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.get_params(ctx) if one.param_type_name == "option"]
    usage = "COMMAND [ARGUMENTS]" if isinstance(command, TyperGroup) else ""
    pieces = [*map(_piece, arguments), usage]
    return Page(
        path,
        " ".join(filter(None, ["[OPTIONS]", *pieces])),
        inspect.cleandoc(command.help or ""),
        tuple((_bare(one), _meaning(one, ctx)) for one in arguments),
        tuple(
            (_names(one, ctx), _meaning(one, ctx))
            for one in options
            if not path or not ("--help" in one.opts or one in _common())
        ),
        _commands(command, path),
        EXAMPLES.get(" ".join(path), ()),
        () if isinstance(command, TyperGroup) else variables_of(path),
    )


def _commands(command: Any, path: Sequence[str]) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    if not isinstance(command, TyperGroup):
        return ()
    found = {name: summary(one.help or "") for name, one in command.commands.items()}
    if path:
        return (("", tuple(found.items())),)
    return tuple(
        (job, tuple((name, found[name]) for name in names if name in found))
        for job, names in JOBS.items()
    )


def summary(text: str) -> str:
    """Return the first sentence of a help as one line."""
    line = " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())
    return f"{line.partition('. ')[0].removesuffix('.')}."


def _bare(argument: Any) -> str:
    return str(argument.display_name_raw).strip("[]").removesuffix("...")


def _piece(argument: Any) -> str:
    more = "..." if argument.nargs == -1 else ""
    name = f"{_bare(argument)}{more}"
    return name if argument.required else f"[{name}]"


def _names(option: Any, ctx: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.is_flag or option.count:
        return names
    value = str(option.display_type_rich(ctx))
    return f"{names} {_VALUES.get(value, value.strip('<>'))}"


def _meaning(param: Any, ctx: Any) -> str:
    _, meaning = param.get_help_record(ctx) or ("", "")
    return " ".join(meaning.split())


def _lines(page: Page, width: int) -> Iterator[str]:
    called = " ".join((PROGRAM, *page.path))
    yield from _wrapped(f"{called} {page.usage}", width, first="Usage: ", then=" " * 7)
    for paragraph in page.text.split("\n\n"):
        yield ""
        yield from _wrapped(paragraph, width, first="  ", then="  ")
    for job, commands in page.commands:
        yield from _section(job or "Commands", commands, width)
    yield from _section("Arguments", page.arguments, width)
    yield from _section("Options", page.options, width)
    if page.path:
        yield from _wrapped(_AND_EVERYWHERE, width, first="  " if page.options else "\n  ")
    if page.examples:
        yield "\nExamples:"
        for line, meaning in page.examples:
            yield f"  {line}"
            yield from _wrapped(meaning, width, first=" " * 6, then=" " * 6)
    yield from _section("Exit codes", EXIT_CODES, width)
    yield from _section("Environment", page.variables, width)
    if not page.path:
        yield ""
        yield from _wrapped(
            f"{PROGRAM} COMMAND --help shows examples and variables of a command, "
            f"{PROGRAM} explain CODE the page of an error or a check.",
            width,
        )


def _section(title: str, rows: Sequence[Row], width: int) -> Iterator[str]:
    if not rows:
        return
    yield f"\n{title}:"
    names = min(_NAMES, max(len(name) for name, _ in rows))
    for name, meaning in rows:
        indent = " " * (names + 4)
        if len(name) <= names:
            yield from _wrapped(meaning, width, first=f"  {name:{names}}  ", then=indent)
        else:
            yield f"  {name}"
            yield from _wrapped(meaning, width, first=indent, then=indent)


def _wrapped(text: str, width: int, *, first: str = "", then: str = "  ") -> Iterator[str]:
    """Yield lines that break at blanks alone; a word that is longer than a line is whole."""
    lead = "\n" if first.startswith("\n") else ""
    lines = textwrap.wrap(
        text,
        width,
        initial_indent=first.removeprefix("\n"),
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for number, line in enumerate(lines or [first]):
        yield (lead if number == 0 else "") + line.rstrip()


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
