"""The cache of agents as assets: what is in it and who asked, what was evicted, its thresholds.

Counts, texts of nobody: the queries and answers of users are never shown.
"""

from collections.abc import Iterator

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.cache.calibration import BUDGET, Calibration, calibrate_with
from memos_assets.cache.census import HOURS, census
from memos_assets.cache.limits import enforce_limits
from memos_assets.cache.namespaces import NAMESPACES
from memos_assets.cache.thresholds import in_force, labelled, put_in_force
from memos_assets.catalog import Catalog
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS
from memos_assets.defs.resources import Postgres
from memos_assets.report.caches import (
    calibration_records,
    census_records,
    curve_plot,
    eviction_plot,
    hits_plot,
    hours_plot,
    misses_plot,
    wrong_plot,
)
from memos_assets.report.render import picture
from memos_assets.search.embed import configured_embedder

#: Group of assets about the cache of agents.
GROUP = "cache"

Shown = dict[str, dg.MetadataValue | int | float | str]


def cache_assets(catalog: Catalog) -> Iterator[dg.AssetsDefinition]:
    """Yield the assets about the cache."""
    yield _census(catalog.names)
    yield _eviction(catalog.names)
    yield _calibration(catalog.names)


def cache_key(names: AssetNames, name: str) -> dg.AssetKey:
    """Return the key of an asset about the cache."""
    return dg.AssetKey.from_user_string(names.cache(name))


def _census(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=cache_key(names, "census"),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="What is in the cache of agents, by namespace, and what became of those who "
        f"asked it in the last {HOURS} hours: hits, misses by reason, hits that people said are "
        "wrong. Counts start again where a crash emptied the UNLOGGED tables.",
    )
    def _counted(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported(), postgres.engine.connect() as conn:
            found = census(conn)
        total = found.total
        shown: Shown = {
            "dagster/row_count": sum(one.rows for one in found.content.values()),
            "bytes": sum(one.bytes for one in found.content.values()),
            "asks": total.asks,
            "said_to_be_wrong": total.wrong,
        }
        if total.hit_rate is not None:
            shown["hit_rate"] = round(total.hit_rate, 4)
        if total.wrong_rate is not None:
            shown["wrong_hit_rate"] = round(total.wrong_rate, 4)
        for reason, count in total.misses.most_common():
            shown[f"misses: {reason}"] = count
        for what, count in total.others.most_common():
            shown[what] = count
        if records := census_records(found):
            shown["namespaces"] = dg.MetadataValue.table([dg.TableRecord(one) for one in records])
        plots = {
            "hits and misses": hits_plot(found),
            "misses by reason": misses_plot(found),
            "hit rate by hour": hours_plot(found),
            "wrong hits": wrong_plot(found),
        }
        for name, plot in plots.items():
            if plot.bars:
                shown[name] = dg.MetadataValue.md(picture(plot))
        return dg.MaterializeResult(metadata=shown)

    return _counted


def _eviction(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=cache_key(names, "eviction"),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="Remove answers past their life and grace, and the least recently used of "
        "namespaces over their limits of rows or bytes. Readers and writers go on meanwhile.",
    )
    def _evicted(postgres: Postgres) -> dg.MaterializeResult[None]:
        with reported(), postgres.engine.connect() as conn:
            done = enforce_limits(conn)
        shown: Shown = {
            "expired": sum(done.expired.values()),
            "over limits": sum(done.evicted.values()),
            "leases of dead holders": done.leases,
            "old counts": done.counts,
        }
        removed = eviction_plot(done)
        if removed.bars:
            shown["removed"] = dg.MetadataValue.md(picture(removed))
        return dg.MaterializeResult(metadata=shown)

    return _evicted


def _calibration(names: AssetNames) -> dg.AssetsDefinition:
    @dg.asset(
        key=cache_key(names, "calibration"),
        group_name=names.job(GROUP),
        kinds={"postgres"},
        owners=OWNERS,
        description="The threshold of each namespace for the configured embedder: the smallest at "
        f"which false hits after the gate are surely below {BUDGET:.0%} of labelled pairs that "
        "differ. Pairs are those of `MEMOS_CACHE_PAIRS`, feedback and shadow observations; with "
        "too few the strict default holds. What is measured is put in force.",
    )
    def _calibrated(postgres: Postgres) -> dg.MaterializeResult[None]:
        settings = postgres.settings
        if settings.embedder is None:
            return dg.MaterializeResult(metadata={"thresholds": "MEMOS_EMBEDDER is not set"})
        with reported():
            embedder = configured_embedder(settings)
            with postgres.engine.connect() as conn:
                pairs = labelled(conn, settings)
                before = {one.namespace: one.threshold for one in in_force(conn, embedder.model)}
            named = {pair.namespace for pair in pairs if pair.namespace is not None}
            semantic = {one.name for one in NAMESPACES.values() if one.semantic}
            done = calibrate_with(embedder, pairs, sorted(semantic | named | before.keys()))
            with postgres.engine.begin() as conn:
                put = put_in_force(conn, done)
        return dg.MaterializeResult(metadata=_shown(done, before, put, len(pairs)))

    return _calibrated


def _shown(done: list[Calibration], before: dict[str, float], put: int, pairs: int) -> Shown:
    records = calibration_records(done, before)
    shown: Shown = {
        "labelled pairs": pairs,
        "in force": put,
        "thresholds": dg.MetadataValue.table([dg.TableRecord(one) for one in records]),
    }
    for one in done:
        shown[f"threshold_{one.namespace}"] = one.threshold
        shown[f"why {one.namespace}"] = one.reason
        if one.calibrated:
            shown[f"curve of {one.namespace}"] = dg.MetadataValue.md(picture(curve_plot(one)))
    return shown
