"""Commands about the cache: what it holds and does, evict, take over memOS's files."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.orm import sessionmaker

from memos_assets.cache import Scope
from memos_assets.cache.importing import MEMOS_MODEL, import_file
from memos_assets.cache.invalidation import invalidate
from memos_assets.cache.limits import enforce_limits
from memos_assets.cache.statistics import statistics
from memos_assets.cli.display import console, titled_table
from memos_assets.cli.help_page import CommandGroup
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.errors import AgentError
from memos_assets.postgres.target import open_consolidated
from memos_assets.settings import load_settings

_APPLICATION = "memos_assets:cache"


def stats(
    hours: Annotated[int, typer.Option(min=1, help="Hits and misses of so many hours.")] = 24,
    json_file: JsonFile = None,
) -> int:
    """Show entries, hits by origin and misses by reason of each namespace; changes nothing."""
    with open_consolidated(load_settings(), _APPLICATION) as engine, engine.connect() as conn:
        found = statistics(conn, hours)
    content = {name: {**asdict(one), "hit_rate": one.hit_rate} for name, one in found.items()}
    write_json(json_file, {"hours": hours, "namespaces": content})
    if not found:
        console.print("The cache is empty, and nobody has asked it.")
        return 0
    table = titled_table("Cache")
    table.add_column("namespace", overflow="fold")
    for name in ("entries", "valid", "embedded", "MB", "hits", "misses", "hit rate"):
        table.add_column(name, justify="right")
    table.add_column("reasons", overflow="fold")
    for name, one in found.items():
        rate = "" if one.hit_rate is None else f"{one.hit_rate:.1%}"
        reasons = {**one.hits, **one.misses, **{f"refused: {r}": n for r, n in one.refused.items()}}
        table.add_row(
            name,
            f"{one.entries:,}",
            f"{one.valid:,}",
            f"{one.embedded:,}",
            f"{one.bytes / 1e6:,.1f}",
            f"{sum(one.hits.values()):,}",
            f"{sum(one.misses.values()):,}",
            rate,
            ", ".join(f"{reason} {count:,}" for reason, count in reasons.items()),
        )
    console.print(table)
    return 0


def evict(
    namespace: Annotated[
        str | None, typer.Option("--namespace", metavar="NAME", help="Answers of this namespace.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="ID", help="Answers of this user.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="UUID", help="Answers that cite this memory.")
    ] = None,
    expired: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--expired", help="What is past its life, and over the limits.")
    ] = False,
) -> int:
    """Evict answers: those that all options name, or what upkeep evicts (--expired)."""
    named = any(one is not None for one in (namespace, user, memory))
    if named is expired:
        raise AgentError(
            "M785",
            "needs --expired, or one or more of --namespace, --user and --memory",
            where="memos-assets cache evict",
            fix="name the answers to evict, or give --expired alone",
        )
    with open_consolidated(load_settings(), _APPLICATION) as engine:
        if expired:
            with engine.connect() as conn:
                done = enforce_limits(conn)
            console.print(
                f"Deleted {sum(done.expired.values()):,} expired entries, evicted "
                f"{sum(done.evicted.values()):,} over the limits."
            )
            return 0
        try:
            with sessionmaker(engine)() as session, session.begin():
                count = invalidate(session, namespace=namespace, user=user, memory=memory)
        except ValueError:
            raise AgentError(
                "M785",
                f"{memory!r} is not a UUID",
                where="--memory",
                fix="give the id of a memory as recall shows it",
            ) from None
    console.print(f"Evicted {count:,} entries.")
    return 0


def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="memOS's content_cache.db or scratchpad_cache.db."),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="The model that embedded its queries.")
    ] = MEMOS_MODEL,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Whose answers they become.")
    ] = None,
) -> int:
    """Take over what has not expired of a cache of memOS; the file is not changed."""
    with open_consolidated(load_settings(), _APPLICATION) as engine:
        done = import_file(sessionmaker(engine), file, scope=Scope(tenant=tenant), model=model)
    stored = ", ".join(f"{name} {count:,}" for name, count in sorted(done.stored.items()))
    console.print(f"Stored: {stored or 'nothing'}; {done.embedded:,} can be found by meaning.")
    if done.left_out:
        reasons = ", ".join(f"{why} {count:,}" for why, count in sorted(done.left_out.items()))
        console.print(f"Left out: {reasons}.")
    return 0


group = CommandGroup("The cache of agents: statistics, evict, take over memOS's files.")
group.command("stats")(stats)
group.command("evict")(evict)
group.command("import")(import_)
