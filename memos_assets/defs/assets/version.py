"""Which version of the tables is live. Described here; swapped by `defs.swap`, or rolled back."""

from datetime import timedelta

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.postgres.versions.swap import Exchange
from memos_assets.postgres.versions.versions import Version, ensure_live, list_versions
from memos_assets.settings import Settings


def describe_live(
    engine: sa.Engine, settings: Settings, catalog: Catalog, exchange: Exchange | None = None
) -> dict[str, dg.MetadataValue | str | int | float]:
    """Return what the UI shows of the live version, and of the one that can be taken back."""
    with engine.begin() as conn:
        ensure_live(conn, catalog)
        versions = list_versions(conn, catalog)
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
    instance: dg.DagsterInstance,
    engine: sa.Engine,
    settings: Settings,
    catalog: Catalog,
    exchange: Exchange,
) -> None:
    """Show a swap or a rollback as a materialisation of the live version."""
    described = describe_live(engine, settings, catalog, exchange)
    key = Keys(catalog.names).live_version
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=described))


def unreported_exchange(
    instance: dg.DagsterInstance, engine: sa.Engine, catalog: Catalog
) -> Version | None:
    """Return the live version if the command that made it live ended before it was shown."""
    with engine.begin() as conn:
        ensure_live(conn, catalog)
        (live,) = [one for one in list_versions(conn, catalog) if one.state == "live"]
    shown = instance.get_latest_materialization_event(Keys(catalog.names).live_version)
    if shown is None or shown.asset_materialization is None or live.swapped_in_at is None:
        return None
    number = shown.asset_materialization.metadata.get("version")
    return live if number is not None and number.value != live.number else None


def report_live(
    instance: dg.DagsterInstance, engine: sa.Engine, settings: Settings, catalog: Catalog
) -> None:
    """Show the live version as it is."""
    key = Keys(catalog.names).live_version
    described = describe_live(engine, settings, catalog)
    instance.report_runless_asset_event(dg.AssetMaterialization(key, metadata=described))


def live_version(catalog: Catalog) -> dg.AssetsDefinition:
    """Return the asset of a catalog's live version."""
    keys = Keys(catalog.names)

    @dg.asset(
        key=keys.live_version,
        deps=[keys.table(spec.name) for spec in catalog.tables],
        group_name=catalog.names.job("versions"),
        kinds={"postgres"},
        owners=OWNERS,
        description=f"The version of the tables that readers of schema `{catalog.schema}` see. "
        "`consolidate --swap` and `rollback` make another one live and are shown here; "
        "materialising it only describes it.",
    )
    def _version(postgres: Postgres) -> dg.MaterializeResult[None]:
        """Describe the live version; no button in the UI can change which one it is."""
        with reported():
            described = describe_live(postgres.engine, postgres.settings, catalog)
        return dg.MaterializeResult(metadata=described)

    return _version
