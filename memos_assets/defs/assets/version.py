"""Which version of the tables is live. Described here; swapped by `defs.swap`, or rolled back."""

from datetime import timedelta

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import TABLES
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import LIVE_VERSION, OWNERS, table_key
from memos_assets.defs.resources import Postgres
from memos_assets.postgres.versions.swap import Exchange
from memos_assets.postgres.versions.versions import ensure_live, list_versions
from memos_assets.settings import Settings


def describe_live(
    engine: sa.Engine, settings: Settings, exchange: Exchange | None = None
) -> dict[str, dg.MetadataValue | str | int | float]:
    """Return what the UI shows of the live version, and of the one that can be taken back."""
    with engine.begin() as conn:
        ensure_live(conn)
        versions = list_versions(conn)
    (live,) = [version for version in versions if version.state == "live"]
    shown: dict[str, dg.MetadataValue | str | int | float] = {
        "version": live.number,
        "rows": live.rows,
        "bytes": live.bytes,
        "consolidation": live.consolidation or "none by itself: it grew in place",
    }
    former = max(
        (version for version in versions if version.state == "previous"),
        key=lambda version: version.swapped_out_at or version.made_at,
        default=None,
    )
    if former is not None and former.swapped_out_at is not None:
        kept_until = former.swapped_out_at + timedelta(days=settings.keep_versions_days)
        shown |= {
            "previous_version": former.number,
            "previous_schema": former.schema,
            "previous_kept_until": dg.MetadataValue.timestamp(kept_until.timestamp()),
        }
    if exchange is not None:
        shown |= {"swap_seconds": round(exchange.seconds, 3)}
    return shown


def report_exchange(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, exchange: Exchange
) -> None:
    """Show a swap or a rollback as a materialisation of the live version."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(LIVE_VERSION, metadata=describe_live(engine, settings, exchange))
    )


@dg.asset(
    key=LIVE_VERSION,
    deps=[table_key(spec) for spec in TABLES],
    group_name="versions",
    kinds={"postgres"},
    owners=OWNERS,
    description="The version of the tables that readers of schema `memos` see. `consolidate "
    "--swap` and `rollback` make another one live and are shown here; materialising it only "
    "describes it.",
)
def live_version(postgres: Postgres) -> dg.MaterializeResult[None]:
    """Describe the live version; no button in the UI can change which one it is."""
    with reported():
        return dg.MaterializeResult(metadata=describe_live(postgres.engine, postgres.settings))
