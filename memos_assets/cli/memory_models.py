"""Commands about embedding models of memory: list, register, re-embed, swap, drop."""

from collections.abc import Sequence
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table

from memos_assets.cli import exit_codes
from memos_assets.cli.display import console, print_error, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.memory import exchange
from memos_assets.memory.models import Model, registered
from memos_assets.memory.reembedding import reembed
from memos_assets.postgres.target import open_consolidated
from memos_assets.search.embed import configured_embedder, configured_next_embedder
from memos_assets.settings import load_settings


def list_command(json_file: JsonFile = None) -> int:
    """List the models with the memories that each has embedded."""
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:models") as engine, engine.connect() as conn:
        models = registered(conn)
        counts = [_memories_of(conn, model) for model in models]
    console.print(_table(models, counts))
    content = [
        {
            "model": model.name,
            "state": model.state,
            "elements": model.dimension,
            "memories": count,
            "link_from": model.link_threshold,
            "table": model.table_name,
        }
        for model, count in zip(models, counts, strict=True)
    ]
    write_json(json_file, {"models": content})
    return 0


def register() -> int:
    """Register the model of MEMOS_EMBEDDER_NEXT, which is to replace the current one."""
    settings = load_settings()
    embedder = configured_next_embedder(settings)
    with open_consolidated(settings, "memos_assets:models") as engine:
        model = exchange.register_next(engine, embedder)
    console.print(
        f"Registered {model.name} ({model.dimension:,} elements) as the next model. "
        "Next: `memos-assets memory models re-embed`, then `memos-assets memory models swap`.",
        soft_wrap=True,
    )
    return 0


def re_embed() -> int:
    """Embed all memories by the next model, beside readers; run again, it goes on."""
    settings = load_settings()
    embedder = configured_next_embedder(settings)
    with open_consolidated(settings, "memos_assets:re-embed") as engine:
        done = reembed(engine, embedder)
    console.print(f"Embedded {done.memories:,} memories by {embedder.model}.")
    for reason, count in done.failures.most_common():
        print_error(f"{reason} ({count:,} memories)")
    return exit_codes.FAILED if done.failures else 0


def swap(
    unproven: Annotated[  # noqa: FBT002  a flag at the terminal
        bool,
        typer.Option(
            "--unproven",
            help="Do not compare with the current model, as where its embedder is gone.",
        ),
    ] = False,
) -> int:
    """Make the next model current, if it is complete and finds no less than the current one."""
    settings = load_settings()
    embedder = configured_next_embedder(settings)
    former = None if unproven else configured_embedder(settings)
    with open_consolidated(settings, "memos_assets:models") as engine:
        done = exchange.exchange(engine, embedder, former)
    console.print(
        f"{done.current} is the current model since now; {done.former or 'none'} was. "
        f"{done.waiting:,} memories wait for an embedding."
    )
    if done.quality is not None:
        console.print(
            f"Known memories among the first 10: {done.quality.after:.3f}, before "
            f"{done.quality.before:.3f}; 95 % of the difference: {done.quality.low:.3f} to "
            f"{done.quality.high:.3f}, {done.quality.questions} memories."
        )
    console.print(
        "Set MEMOS_EMBEDDER and MEMOS_EMBEDDER_MODEL to it for every process, and unset "
        "MEMOS_EMBEDDER_NEXT.",
        soft_wrap=True,
    )
    return 0


def drop(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A former or next one.")],
) -> int:
    """Drop a model that is not current, with its embeddings."""
    with open_consolidated(load_settings(), "memos_assets:models") as engine:
        exchange.drop_model(engine, name)
    console.print(f"Dropped {name} with its embeddings.", markup=False)
    return 0


def _memories_of(conn: sa.Connection, model: Model) -> int:
    counted = sa.select(sa.func.count()).where(model.table.c.part == 0)
    return int(conn.execute(counted).scalar_one())


def _table(models: Sequence[Model], counts: Sequence[int]) -> Table:
    table = titled_table("Models")
    for name in ("model", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("elements", "memories", "link from"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("table", no_wrap=True)
    for model, count in zip(models, counts, strict=True):
        table.add_row(
            model.name,
            model.state,
            f"{model.dimension:,}",
            f"{count:,}",
            f"{model.link_threshold:.2f}",
            model.table_name,
        )
    return table


group = CommandGroup("Embedding models of memory: exchange one for another.")
group.command("list")(list_command)
group.command("register")(register)
group.command("re-embed")(re_embed)
group.command("swap")(swap)
group.command("drop")(drop)
