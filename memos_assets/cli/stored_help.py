"""The help of all commands, stored: shown and completed without importing one of them.

The imports of all commands take seconds, their stored help milliseconds. `make docs` writes
`help.json` from the commands; where a module of this package differs from the one it was written
from, it is not used.
"""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup
from typer.main import get_command

from memos_assets.cli.help_page import Command, Group, Page, page_of

FILE = Path(__file__).with_name("help.json")
#: What a stored command returns: its line asks for more than help.
TO_RUN = "to run"


@dataclass(frozen=True, slots=True)
class Stored:
    """All commands as they were written: pages, and parameters by the words that call them."""

    pages: Mapping[tuple[str, ...], Page]
    params: Mapping[tuple[str, ...], Sequence[Mapping[str, Any]]]


def written(app: typer.Typer) -> str:
    """Return the text of the file for a program with all of its commands."""
    commands = {
        " ".join(path): {
            "page": page_of(command, ctx).as_json(),
            "params": [_param(one) for one in command.params if one.expose_value],
        }
        for path, command, ctx in walked(app)
    }
    return json.dumps({"modules": _digests(), "commands": commands}, indent=1) + "\n"


def walked(app: typer.Typer) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Yield the words, the command and the context of every command, the program first."""
    program = get_command(app)
    ctx = program.context_class(program, info_name="memos-assets", **program.context_settings)
    waiting: list[tuple[tuple[str, ...], Any, Any]] = [((), program, ctx)]
    while waiting:
        path, command, ctx = waiting.pop(0)
        yield path, command, ctx
        if isinstance(command, TyperGroup):
            waiting = [
                ((*path, name), one, one.context_class(one, info_name=name, parent=ctx))
                for name, one in command.commands.items()
            ] + waiting


def read() -> Stored | None:
    """Return the stored commands; None where there are none, or modules changed since."""
    try:
        content = json.loads(FILE.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    digests = _digests()
    if digests and content["modules"] != digests:
        return None
    commands = {tuple(name.split()): one for name, one in content["commands"].items()}
    return Stored(
        {path: Page.from_json(one["page"]) for path, one in commands.items()},
        {path: one["params"] for path, one in commands.items()},
    )


def add_commands(program: TyperGroup, stored: Stored, only: str | None = None) -> None:
    """Give a program commands that help, complete and refuse as the real ones, and run nothing.

    Args:
        program: without commands.
        stored: all commands.
        only: the one that is needed; all if None.
    """
    program.page = stored.pages[()]  # type: ignore[attr-defined]
    for path in stored.pages:
        if len(path) == 1 and only in (None, path[0]):
            program.add_command(_command(stored, path))


def _command(stored: Stored, path: tuple[str, ...]) -> Any:
    page = stored.pages[path]
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    if page.commands:
        app.callback(cls=Group, no_args_is_help=True)(_function(()))
    else:
        app.command(cls=Command)(_function(stored.params[path]))
    command: Any = get_command(app)
    command.name, command.help, command.page = path[-1], page.text, page
    for _, rows in page.commands:
        for name, _ in rows:
            command.add_command(_command(stored, (*path, name)))
    return command


def _function(params: Sequence[Mapping[str, Any]]) -> Any:
    """Return a function with a command's parameters; it says that the real one has to run."""

    def to_run(**_: object) -> str:
        return TO_RUN

    made = [_parameter(one) for one in params]
    to_run.__signature__ = inspect.Signature(made)  # type: ignore[attr-defined]
    to_run.__annotations__ = {one.name: one.annotation for one in made}
    return to_run


def _param(param: Any) -> dict[str, Any]:
    """Return a parameter as JSON: what parsing and completion need of it."""
    choices = param.type_descriptor.choices
    is_argument = param.param_type_name == "argument"
    return {
        "name": param.name,
        "opts": None if is_argument else [*param.opts, *param.secondary_opts],
        "required": param.required,
        "flag": not is_argument and param.is_flag,
        "many": param.nargs == -1 or param.multiple,
        "choices": None if choices is None else [str(one) for one in choices],
    }


def _parameter(stored: Mapping[str, Any]) -> inspect.Parameter:
    kind: Any = str
    if stored["flag"]:
        kind = bool
    elif stored["choices"]:
        kind = Literal[tuple(stored["choices"])]
    if stored["many"]:
        kind = list[kind]
    about = typer.Argument() if stored["opts"] is None else typer.Option(*stored["opts"])
    default: object = False if stored["flag"] else None
    if stored["required"]:
        default = inspect.Parameter.empty
    elif not stored["flag"]:
        kind = kind | None
    return inspect.Parameter(
        stored["name"],
        inspect.Parameter.KEYWORD_ONLY,
        default=default,
        annotation=Annotated[kind, about],
    )


def _digests() -> dict[str, str]:
    """Return the digest of every module of the command line; none without sources."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in sorted(FILE.parent.glob("*.py"))
    }
