"""Commands about versions of the tables: rollback, versions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import sqlalchemy as sa
import typer
from rich.table import Table

from memos_assets.catalog import MEMOS, Catalog
from memos_assets.cli.asking import agreed, require_answer
from memos_assets.cli.display import console, titled_table
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import DryRun, JsonFile, Yes
from memos_assets.postgres.target import open_consolidated
from memos_assets.postgres.versions.swap import Exchange, former_version, roll_back
from memos_assets.postgres.versions.versions import (
    Version,
    ensure_live,
    list_versions,
    prune,
    unbooked_schemas,
)
from memos_assets.report.formatting import size
from memos_assets.settings import Settings, load_settings


def announce_swap(catalog: Catalog) -> None:
    """Print the schema that a consolidation with a swap loads."""
    console.print(
        f"Loading every registered source into the shadow schema {catalog.shadow}; readers keep "
        "the live tables until all of it is proven.",
        soft_wrap=True,
    )


def print_exchange(exchange: Exchange, settings: Settings) -> None:
    """Print the live version, how long the former one is kept, and the command to roll back."""
    until = exchange.at + timedelta(days=settings.keep_versions_days)
    console.print(
        f"Version {exchange.live} ({exchange.rows:,} rows) is live since {exchange.at:%H:%M:%S} "
        f"UTC, swapped in {exchange.seconds * 1000:.0f} ms. Version {exchange.previous} is kept "
        f"in {exchange.previous_schema} until {until:%Y-%m-%d}; `memos-assets rollback` makes it "
        "live again.",
        soft_wrap=True,
    )


def rollback(
    to: Annotated[
        int | None,
        typer.Option(
            "--to", metavar="N", help="Number of a version; the one that was live last if none."
        ),
    ] = None,
    dry_run: DryRun = False,  # noqa: FBT002  flags at the terminal, here and below
    yes: Yes = False,  # noqa: FBT002
    json_file: JsonFile = None,
) -> int:
    """Make the former version live again; a second rollback undoes the first."""
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:rollback") as engine:
        if dry_run:
            return _show_rollback(engine, to, json_file)
        require_answer("rollback", yes=yes)
        # Dagster takes a second to import, which a refusal need not wait for.
        from memos_assets.defs.assets.version import (
            report_exchange,
            report_live,
            unreported_exchange,
        )
        from memos_assets.runs.instance import open_instance

        with open_instance(settings) as instance:
            since = unreported_exchange(instance, engine, MEMOS)
            if since is not None:
                report_live(instance, engine, settings, MEMOS)
            if since is not None and to in (None, since.number):
                console.print(
                    f"Version {since.number} became live at {since.swapped_in_at:%Y-%m-%d %H:%M} "
                    "UTC by a command that was interrupted. Nothing was changed now; "
                    "`memos-assets rollback` makes the former version live again.",
                    soft_wrap=True,
                )
                write_json(json_file, {"live_version": since.number})
                return 0
            live = _live_since(engine, to)
            if live is not None:
                console.print(
                    f"Version {to} is live already, since {live:%Y-%m-%d %H:%M} UTC. Nothing was "
                    "changed; `memos-assets rollback` makes the former version live again.",
                    soft_wrap=True,
                )
                write_json(json_file, {"live_version": to})
                return 0
            chosen = former_version(engine, MEMOS, to)
            question = f"Make version {chosen} live in place of the present one?"
            if not agreed("rollback", question, yes=yes, otherwise="Nothing was changed."):
                return 1
            exchange = roll_back(
                engine, MEMOS, timeout_seconds=settings.swap_timeout_seconds, number=to
            )
            report_exchange(instance, engine, settings, MEMOS, exchange)
    print_exchange(exchange, settings)
    console.print(
        "memos-assets verify proves the live version; memos-assets consolidate loads newer rows of "
        "the files.",
        soft_wrap=True,
    )
    write_json(json_file, {"live_version": exchange.live, "former_version": exchange.previous})
    return 0


def _show_rollback(engine: sa.Engine, to: int | None, json_file: Path | None) -> int:
    """Print which version would be live, and change nothing."""
    with engine.connect() as conn:
        found = list_versions(conn, MEMOS)
    live = next((one.number for one in found if one.state == "live"), 1)
    chosen = former_version(engine, MEMOS, to)
    console.print(
        f"Version {chosen} would be live in place of version {live}. Nothing was changed.",
        soft_wrap=True,
    )
    write_json(json_file, {"live_version": live, "would_be_live": chosen})
    return 0


def _live_since(engine: sa.Engine, number: int | None) -> datetime | None:
    """Return since when the version of a number is live; None where another one is."""
    with engine.begin() as conn:
        ensure_live(conn, MEMOS)
        found = list_versions(conn, MEMOS)
    (live,) = (version for version in found if version.state == "live")
    return (live.swapped_in_at or live.made_at) if live.number == number else None


def versions(
    drop_old: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool,
        typer.Option("--prune", help="Drop versions older than MEMOS_KEEP_VERSIONS_DAYS."),
    ] = False,
    swap_in: Annotated[  # noqa: FBT002  it is a flag at the terminal
        bool,
        typer.Option(
            "--swap",
            help="Make the version live that consolidate --swap loaded and proved, and could not "
            "swap in because of readers.",
        ),
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """List the versions of the tables: the live one, former ones that are kept, a shadow."""
    settings = load_settings()
    if swap_in:
        from memos_assets.runs.instance import swap_loaded

        with open_consolidated(settings, "memos_assets:swap") as engine:
            print_exchange(swap_loaded(engine, settings, MEMOS), settings)
    with open_consolidated(settings, "memos_assets:versions") as engine:
        if drop_old:
            dropped = prune(engine, MEMOS, settings.keep_versions_days)
            numbers = ", ".join(map(str, dropped))
            console.print(f"Dropped version {numbers}." if dropped else "No version is that old.")
        with engine.begin() as conn:
            ensure_live(conn, MEMOS)
            found, unbooked = list_versions(conn, MEMOS), unbooked_schemas(conn, MEMOS)
    console.print(_table(found, settings))
    for schema in unbooked:
        console.print(
            f"Note: schema {schema} is a version that the bookkeeping tables do not list, because "
            "the database went back to an older revision. Drop the schema by hand: "
            f"drop schema {schema} cascade",
            soft_wrap=True,
        )
    write_json(json_file, {"versions": [_as_json(one) for one in found], "unbooked": unbooked})
    return 0


def _as_json(version: Version) -> dict[str, Any]:
    return {
        "version": version.number,
        "state": version.state,
        "schema": version.schema,
        "rows": version.rows,
        "bytes": version.bytes,
        "consolidation": version.consolidation,
        "made_at": version.made_at.isoformat(),
        "swapped_in_at": version.swapped_in_at and version.swapped_in_at.isoformat(),
        "swapped_out_at": version.swapped_out_at and version.swapped_out_at.isoformat(),
    }


def _table(found: list[Version], settings: Settings) -> Table:
    table = titled_table("Versions")
    for name in ("version", "state", "schema"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("since", no_wrap=True)
    table.add_column("consolidation", no_wrap=True)
    table.add_column("kept until", no_wrap=True)
    keep = timedelta(days=settings.keep_versions_days)
    for version in found:
        out = version.swapped_out_at if version.state == "previous" else None
        since = out or version.swapped_in_at or version.made_at
        table.add_row(
            str(version.number),
            version.state,
            version.schema,
            f"{version.rows:,}",
            size(version.bytes),
            _moment(since),
            version.consolidation or "",
            _moment(out + keep) if out else "",
        )
    return table


def _moment(value: datetime) -> str:
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
