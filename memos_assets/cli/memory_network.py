"""Commands about the semantic network of a user: seed it from memOS's, and show its size."""

from typing import Annotated

import typer

from memos_assets.cli.display import console, live_progress, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.memory.acting import act_as
from memos_assets.memory.network import stats as network_stats
from memos_assets.memory.seed import seed as seed_network
from memos_assets.memory.sessions import open_sync_memory_sessions
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings

_SHOWN = {
    "memories": "memories",
    "duplicates": "equal texts",
    "without_text": "without text",
    "too_long": "too long",
    "embedded": "with embedding",
    "links": "links",
    "joined": "edges joined",
    "loops": "edges to itself",
    "dangling": "edges that dangle",
}


def seed(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whose network is seeded.")],
    source: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One consolidated source; all of them if left out."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Seed a user's network from memOS's consolidated one, once per source; may be repeated."""
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:seed") as engine, live_progress():
        seeded = seed_network(engine, user, source)
    write_json(
        json_file,
        {"seeded": [{"source": o.source, "new": o.new, "counts": dict(o.counts)} for o in seeded]},
    )
    if not seeded:
        console.print("No source has memories of a semantic network.")
        return 0
    table = titled_table("Seeded")
    table.add_column("source", overflow="fold")
    for name in ("new", *_SHOWN.values()):
        table.add_column(name, justify="right")
    for one in seeded:
        counts = (one.counts[key] for key in _SHOWN)
        table.add_row(one.source, f"{one.new:,}", *(f"{count:,}" for count in counts))
    console.print(table)
    return 0


def stats(
    user: Annotated[str, typer.Option("--user", metavar="ID", help="Whose network is shown.")],
    spaces: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="NAME", help="A shared space of theirs, too; repeatable."),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Show how many memories and links a user's network has."""
    settings = load_settings()
    with (
        open_consolidated(settings, "memos_assets:stats"),
        open_sync_memory_sessions(settings) as sessions,
        sessions() as session,
    ):
        act_as(session, user=user, spaces=spaces or ())
        found = network_stats(session)
    write_json(json_file, found)
    kinds = found.pop("memories_by_type")
    table = titled_table("Semantic network")
    table.add_column("")
    table.add_column("count", justify="right")
    for name, value in [
        *found.items(),
        *((f"kind {kind}", count) for kind, count in kinds.items()),
    ]:
        shown = "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
        table.add_row(name.replace("_", " "), shown)
    console.print(table)
    return 0
