"""Commands about access tokens of agents: create, list, revoke."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.text import Text
from sqlalchemy.orm import Session, sessionmaker

from memos_assets.cli.display import console, errors, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.person import who
from memos_assets.memory import access_tokens
from memos_assets.memory.access_tokens import TokenLine
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import moment
from memos_assets.settings import load_settings
from memos_assets.sqlite.printable import printable


def create(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="For whom its bearer acts.")],
    agent: Annotated[
        str, typer.Option("--agent", metavar="NAME", help="The agent that acts for them.")
    ] = "",
    spaces: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="NAME", help="A shared space of theirs, too; repeatable."),
    ] = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help="For the list.")] = "",
    days: Annotated[float, typer.Option("--days", help="For how long it holds.")] = 90,
    no_expiry: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--no-expiry", help="It holds until it is revoked.")
    ] = False,
) -> int:
    """Make a token and print it, once: the database has its sha256 alone."""
    with _owners_session() as session:
        token, number = access_tokens.create(
            session,
            user=user,
            made_by=who(),
            agent=agent,
            spaces=spaces or (),
            label=label,
            days=None if no_expiry else days,
        )
    # The token alone on standard output, so that a script can keep it.
    console.print(token, markup=False, soft_wrap=True)
    until = "until it is revoked" if no_expiry else f"for {days:g} days"
    errors.print(f"Token {number} holds {until}. It is not shown again.", markup=False)
    return 0


def list_tokens(
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="Those of this user alone.")
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """List tokens, the newest first: for whom, until when, and when each was used last."""
    with _owners_session() as session:
        found = access_tokens.list_tokens(session, user)
    if str(json_file) != "-":
        _print(found)
    write_json(json_file, {"tokens": [_line(one) for one in found]})
    return 0


def revoke(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As the list shows it.")],
) -> int:
    """Revoke a token: from now on its bearer is refused."""
    with _owners_session() as session:
        was_valid = access_tokens.revoke(session, number)
    console.print(f"Token {number} {'is revoked' if was_valid else 'was revoked before'}.")
    return 0


@contextmanager
def _owners_session() -> Iterator[Session]:
    """Yield a session of the owner of the tables; committed at the end of the block."""
    with (
        open_consolidated(load_settings(), "memos_assets:tokens") as engine,
        sessionmaker(engine)() as session,
        session.begin(),
    ):
        yield session


def _print(found: list[TokenLine]) -> None:
    if not found:
        console.print("There is no token.")
        return
    table = titled_table("Access tokens")
    table.add_column("number", justify="right")
    for name in ("user", "agent", "spaces", "label"):
        table.add_column(name, overflow="fold")
    for name in ("state", "expires", "used last"):
        table.add_column(name, no_wrap=True)
    table.add_column("uses", justify="right")
    for one in found:
        texts = (one.user, one.agent, ", ".join(one.spaces), one.label)
        table.add_row(
            str(one.number),
            *(Text(printable(text)) for text in texts),
            one.state,
            "never" if one.expires_at is None else moment(one.expires_at.timestamp()),
            "" if one.used_at is None else moment(one.used_at.timestamp()),
            f"{one.uses:,}",
        )
    console.print(table)


def _line(one: TokenLine) -> dict[str, object]:
    times = {"made_at": one.made_at, "expires_at": one.expires_at}
    times |= {"revoked_at": one.revoked_at, "used_at": one.used_at}
    return {
        "number": one.number,
        "label": one.label,
        "user": one.user,
        "agent": one.agent,
        "spaces": list(one.spaces),
        "made_by": one.made_by,
        "state": one.state,
        "uses": one.uses,
        **{name: None if at is None else at.isoformat() for name, at in times.items()},
    }


group = CommandGroup("Access tokens of agents, for HTTP and MCP: create, list, revoke.")
group.command("create")(create)
group.command("list")(list_tokens)
group.command("revoke")(revoke)
