"""The command status: what is there, whether it is proven, and what runs."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from memos_assets import __version__
from memos_assets.catalog import MEMOS
from memos_assets.cli import verbosity
from memos_assets.cli.display import console
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.server import print_missing
from memos_assets.cli.settings import print_unknown
from memos_assets.consolidate.loading.summary import TableSummary, summarise
from memos_assets.consolidate.rejects import listing
from memos_assets.consolidate.rejects.listing import Selection
from memos_assets.consolidate.sources.registry import Source, registered_sources
from memos_assets.postgres import migrations
from memos_assets.postgres.dagster_state import DagsterState, dagster_state
from memos_assets.postgres.engine import check_server, closing_pool, create_engine, parse_url, shown
from memos_assets.postgres.server.embedded import EmbeddedServer
from memos_assets.postgres.versions.versions import Version, list_versions
from memos_assets.report.formatting import plural, size
from memos_assets.settings import Settings, load_settings


def status(json_file: JsonFile = None) -> int:
    """Show the last verdict, rows, open rejects, the version, schedules and the daemon.

    It says whether the database runs, and where. It starts nothing.
    """
    settings = load_settings()
    address, process = _address(settings)
    content: dict[str, Any] = {"version": __version__, "runs": address is not None}
    if address is None:
        folder = EmbeddedServer(settings.home).data_directory
        console.print(
            f"The embedded PostgreSQL in {folder} is down. Fix: memos-assets up", soft_wrap=True
        )
        write_json(json_file, content)
        return 1
    engine = create_engine(address, settings, application_name="memos_assets:status", pooled=False)
    with closing_pool(engine):
        facts = check_server(engine, create_extension=False)
        content |= {"address": shown(address), "server": facts.server, "pgvector": facts.pgvector}
        content["revision"] = migrations.current(engine)
        missing = print_missing(engine)
        if not missing:
            content |= _of_consolidation(engine)
    if process is not None:
        console.print(f"Embedded PostgreSQL, process {process}: {shown(address)}", soft_wrap=True)
    else:
        console.print(f"PostgreSQL at {shown(address)}", soft_wrap=True)
    console.print(
        f"PostgreSQL {facts.server}, pgvector {facts.pgvector}, schema revision "
        f"{content['revision'] or 'none'} of {migrations.head()}, memos-assets {__version__}",
        soft_wrap=True,
    )
    content["unknown_variables"] = print_unknown()
    write_json(json_file, content)
    return 0


def _address(settings: Settings) -> tuple[sa.URL | None, int | None]:
    """Return the address and the process of the embedded server; no address where it is down."""
    if settings.database_url is not None:
        return parse_url(settings.database_url.get_secret_value()), None
    server = EmbeddedServer(settings.home)
    now = server.status()
    return (server.url(), now.pid) if now.running else (None, None)


def _of_consolidation(engine: sa.Engine) -> dict[str, Any]:
    """Print what is consolidated, the verdict first; return it as JSON."""
    # The checklist takes a second to import, which a server that is down need not wait for.
    from memos_assets.report.checks import check_summaries
    from memos_assets.report.evaluations import checklist_results
    from memos_assets.report.verdict import verdict

    with engine.connect() as conn:
        summaries = summarise(conn, MEMOS)
        results = checklist_results(conn, MEMOS)
        sources = registered_sources(conn, MEMOS.kinds)
        rejects = listing.groups(conn, Selection(MEMOS, only_open=True))
        versions = list_versions(conn, MEMOS)
        used = conn.execute(
            sa.select(sa.func.pg_database_size(sa.func.current_database()))
        ).scalar_one()
        dagster = dagster_state(conn)
    concluded = verdict(check_summaries(results), summaries, ())
    read = [one.timestamp for result in results for one in result.evaluations]
    checked = datetime.fromtimestamp(max(read), UTC) if read else None
    console.print(concluded.sentence, markup=False, soft_wrap=True)
    if checked is not None:
        console.print(f"Checked last at {checked:%Y-%m-%d %H:%M} UTC.")
    _print_rows(sources, summaries, used)
    opened = sum(group.open for group in rejects)
    if opened:
        console.print(f"{plural(opened, 'row')} open in the rejects: memos-assets rejects list")
    live = next((one for one in versions if one.state == "live"), None)
    _print_live(live, versions)
    _print_dagster(dagster)
    return {
        "proven": concluded.proven,
        "verdict": concluded.sentence,
        "checked_at": checked and checked.isoformat(timespec="seconds"),
        "bytes": used,
        "rows": sum(one.rows for one in summaries),
        "open_rejects": opened,
        "live_version": live.number if live else 1,
        "consolidation": live and live.consolidation,
        "sources": [
            {
                "source": source.name,
                "kind": source.kind.name,
                "path": str(source.path),
                "retired_to": source.retired_to and str(source.retired_to),
                "rows": sum(one.rows for one in summaries if one.source == source.name),
                "rejected": sum(one.rejected for one in summaries if one.source == source.name),
            }
            for source in sources
        ],
        "dagster": _as_json(dagster),
    }


def _print_rows(sources: Sequence[Source], summaries: Sequence[TableSummary], used: int) -> None:
    rows = sum(one.rows for one in summaries)
    console.print(
        f"{plural(rows, 'row')} of {plural(len(sources), 'source')}, {size(used)} on disk",
        soft_wrap=True,
    )
    if verbosity.is_quiet():
        return
    for source in sources:
        own = [one for one in summaries if one.source == source.name]
        counted = plural(sum(one.rows for one in own), "row")
        console.print(
            f"  {source.name} ({source.kind.name}), {counted}: {source.path}",
            markup=False,
            soft_wrap=True,
            no_wrap=True,
        )


def _print_live(live: Version | None, versions: Sequence[Version]) -> None:
    if live is None:
        # The first one is written down when another one is made.
        console.print("Version 1 is live")
        return
    since = live.swapped_in_at or live.made_at
    former = sum(one.state == "previous" for one in versions)
    kept = f"; {plural(former, 'former one')} kept" if former else ""
    console.print(f"Version {live.number} is live since {since:%Y-%m-%d %H:%M} UTC{kept}")


def _print_dagster(state: DagsterState | None) -> None:
    if state is None:
        console.print("No run of Dagster was recorded here so far.")
        return
    daemon = "runs" if state.daemon_runs else "does not run: memos-assets ui starts it"
    last = f" (last heartbeat {state.heartbeat:%Y-%m-%d %H:%M} UTC)" if state.heartbeat else ""
    console.print(f"Daemon: {daemon}{'' if state.daemon_runs else last}")
    started = ", ".join(state.schedules) or "none is started"
    console.print(f"Schedules and sensors: {started}", soft_wrap=True)
    console.print(f"Runs: {state.running:,} in progress, {state.queued:,} queued")


def _as_json(state: DagsterState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    at = state.heartbeat and state.heartbeat.isoformat(timespec="seconds")
    return {**asdict(state), "schedules": list(state.schedules), "heartbeat": at}
