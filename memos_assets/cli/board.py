"""Commands about boards: list them, show one, replay one of its states, archive complete ones."""

from typing import Annotated, Any

import typer
from rich.markup import escape

from memos_assets.blackboard import opening, reading, views
from memos_assets.blackboard.archive import archive_all, complete_boards, folder_of
from memos_assets.blackboard.facade import known_id
from memos_assets.blackboard.reading import Entry, Head, State
from memos_assets.cli import exit_codes
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings

_APPLICATION = "memos_assets:board"
#: Characters of a value that are shown.
_SHOWN = 100
Board = Annotated[str, typer.Argument(metavar="ID", help="Id of the board.")]


def list_(
    state: Annotated[
        str | None, typer.Option("--state", metavar="NAME", help="open, complete or archived.")
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """List the boards of all users, the newest first, with their sizes."""
    with open_consolidated(load_settings(), _APPLICATION) as engine, engine.connect() as conn:
        found = opening.list_boards(conn, state=state)
    table = titled_table("Boards")
    table.add_column("id", no_wrap=True)
    for name in ("state", "opened"):
        table.add_column(name)
    for name in ("events", "kB"):
        table.add_column(name, justify="right")
    table.add_column("goal", overflow="fold")
    for one in found:
        table.add_row(
            *(str(one.id), one.state, f"{one.opened_at:%Y-%m-%d %H:%M}", f"{one.seq:,}"),
            *(f"{one.bytes / 1e3:,.1f}", escape(one.goal[:_SHOWN])),
        )
    console.print(table)
    write_json(json_file, {"boards": [_head(one) for one in found]})
    return 0


def show(board: Board, json_file: JsonFile = None) -> int:
    """Show a board: how far it is, its contradictions, its size, and what it refused."""
    number = known_id(board)
    with open_consolidated(load_settings(), _APPLICATION) as engine, engine.connect() as conn:
        head, counts = reading.head(conn, number), opening.stats(conn, number)
        state = reading.live(conn, number)
    done = views.completion(state)
    console.print(f"{head.goal} ({head.state}, event {head.seq:,})", markup=False, soft_wrap=True)
    table = titled_table("Questions")
    table.add_column("question", overflow="fold")
    for name in ("status", "confidence", "findings"):
        table.add_column(name, justify="right")
    for one in views.questions(state):
        row = one.status, f"{one.confidence:.2f}", f"{one.findings:,}"
        table.add_row(escape(one.text), *row)
    console.print(table)
    for two in views.contradictions(state):
        sides = (f"{two.value[side]['statement']} ({two.value[side]['source']})" for side in "ab")
        console.print(f"{two.status}: {' / '.join(sides)}", markup=False, soft_wrap=True)
    console.print(
        f"{counts['events']:,} of {counts['max_events']:,} events, {counts['bytes']:,} of "
        f"{counts['max_bytes']:,} bytes; {counts['waiting']:,} posts wait."
    )
    for reason, count in counts["refused"].items():
        console.print(f"refused, {reason}: {count:,}", markup=False)
    write_json(json_file, {**_head(head), "completion": done, "stats": counts})
    return 0


def replay(
    board: Board,
    seq: Annotated[
        int | None, typer.Option("--at", min=0, help="Number of an event; unset: the last one.")
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Show the state of a board after an event, computed from its events."""
    number = known_id(board)
    with open_consolidated(load_settings(), _APPLICATION) as engine, engine.connect() as conn:
        state = reading.replay(conn, number, seq)
    table = titled_table(f"State after event {state.seq:,}")
    table.add_column("event", justify="right")
    for name in ("level", "key", "value"):
        table.add_column(name, overflow="fold")
    for one in state.entries:
        row = f"{one.seq:,}", one.level, one.key, str(one.value)[:_SHOWN]
        table.add_row(*map(escape, row))
    console.print(table)
    write_json(json_file, _state(state))
    return 0


def archive(
    board: Annotated[
        str | None,
        typer.Argument(metavar="ID", help="Id of a complete board; unset: all that are complete."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Archive complete boards, each once: written, read back, compared, and marked then."""
    settings = load_settings()
    folder = folder_of(settings)
    with open_consolidated(settings, _APPLICATION) as engine:
        with engine.connect() as conn:
            wanted = complete_boards(conn) if board is None else [known_id(board)]
        done, _, failed = archive_all(engine, folder, wanted)
    console.print(f"Archived {len(done):,} boards in {folder}.", markup=False, soft_wrap=True)
    for refused in failed:
        print_error(str(refused))
    archived = [
        {"board": str(one.board), "file": str(one.path), "events": one.events, "sha256": one.sha256}
        for one in done
    ]
    write_json(json_file, {"archived": archived, "failed": [str(refused) for refused in failed]})
    return exit_codes.FAILED if failed else 0


def _head(one: Head) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "state": one.state,
        "goal": one.goal,
        "seq": one.seq,
        "bytes": one.bytes,
        "opened_at": one.opened_at.isoformat(),
        "archive_sha256": one.archive_sha256,
    }


def _state(state: State) -> dict[str, Any]:
    at = None if state.at is None else state.at.isoformat()
    return {"seq": state.seq, "at": at, "entries": list(map(_entry, state.entries))}


def _entry(one: Entry) -> dict[str, Any]:
    return {
        "level": one.level,
        "key": one.key,
        "item": one.item,
        "value": one.value,
        "version": one.version,
        "seq": one.seq,
        "at": one.at.isoformat(),
        "agent": one.agent,
    }


group = CommandGroup("Boards of agents: list, show, replay a state, archive complete ones.")
group.command("list")(list_)
group.command("show")(show)
group.command("replay")(replay)
group.command("archive")(archive)
