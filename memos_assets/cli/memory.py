"""Commands about the memory of agents: embed what waits; models are in `memory_models`."""

from typing import Annotated

import typer

from memos_assets.cli import exit_codes, memory_models, memory_network
from memos_assets.cli.display import console, print_error
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.memory.outbox import Progress, embed_waiting, enqueue_missing, waiting
from memos_assets.postgres.target import open_consolidated
from memos_assets.search.embed import configured_embedder
from memos_assets.settings import load_settings


def embed(
    missing: Annotated[  # noqa: FBT002  a flag at the terminal
        bool,
        typer.Option(
            "--missing", help="Embed also memories that have no embedding and do not wait for one."
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Embed and link the memories that wait for an embedding, as the schedule does each minute."""
    settings = load_settings()
    embedder = configured_embedder(settings)
    with open_consolidated(settings, "memos_assets:embed") as engine:
        if missing:
            enqueue_missing(engine)
        progress = embed_waiting(engine, embedder)
        with engine.connect() as conn:
            left = waiting(conn)
    console.print(
        f"Embedded {progress.embedded:,} memories, made {progress.linked:,} links; "
        f"{left.count:,} wait."
    )
    counts = {"embedded": progress.embedded, "links": progress.linked, "waiting": left.count}
    write_json(json_file, {**counts, "failed": _failures(progress)})
    for line in _failures(progress):
        print_error(line)
    return exit_codes.FAILED if progress.stopped or progress.failures else 0


def _failures(progress: Progress) -> list[str]:
    """Return a line for each reason why memories go on waiting."""
    lines = [f"{reason} ({count:,} memories)" for reason, count in progress.failures.most_common()]
    return lines if progress.stopped is None else [*lines, progress.stopped]


group = CommandGroup(
    "Memory of agents: seed it, show its size, embed what waits, exchange the model."
)
group.command("embed")(embed)
group.command("seed")(memory_network.seed)
group.command("stats")(memory_network.stats)
group.add_typer(memory_models.group, name="models")
