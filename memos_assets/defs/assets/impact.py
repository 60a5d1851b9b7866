"""The gain of an index on this machine, as an asset: the remediation plan's promise, measured."""

import dagster as dg
from pydantic import Field

from memos_assets.catalog import Catalog
from memos_assets.defs.assets.indexes import BUILD_POOL
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.impact.measure import (
    DEFAULT_DIMENSION,
    DEFAULT_ROWS,
    INDEX,
    STORED,
    Impact,
    disk_needed,
    measure_impact,
)
from memos_assets.postgres.target import free_bytes
from memos_assets.report.formatting import size
from memos_assets.report.impact import COLUMNS, in_words, latency_chart, records
from memos_assets.report.render import picture


class ImpactConfig(dg.Config):
    """How large the tables are that are measured."""

    rows: list[int] = Field(
        default=list(DEFAULT_ROWS), description="Row counts, one table after the other."
    )
    dimension: int = Field(
        default=DEFAULT_DIMENSION, description="Elements per embedding; one that the catalog has."
    )


def impact(catalog: Catalog) -> dg.AssetsDefinition:
    """Return the asset of the measurement, on a table of a catalog."""

    @dg.asset(
        key=Keys(catalog.names).impact,
        group_name=catalog.names.job("impact"),
        kinds={"postgres"},
        owners=OWNERS,
        pool=BUILD_POOL,
        description="How many times faster than an exact scan the index is, on this machine: the "
        "promise of 4,166 x at 100,000 rows, measured on generated rows in a schema that is "
        "dropped at the end. The default row counts take some minutes, both cores, and 2 GB of "
        "disk.",
    )
    def _impact(
        context: dg.AssetExecutionContext, config: ImpactConfig, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        """Load, index and search tables of growing size; show ratios, recall, bytes and a plot."""
        with reported():
            needed = disk_needed(catalog, config.rows, config.dimension)
            context.log.info(f"Up to {size(needed)} of disk are taken, and given back at the end.")
            measured = measure_impact(
                postgres.engine,
                catalog,
                rows=config.rows,
                dimension=config.dimension,
                free_bytes=free_bytes(postgres.settings),
            )
        for sentence in in_words(measured):
            context.log.info(sentence)
        return dg.MaterializeResult(metadata=described(measured))

    return _impact


def described(measured: Impact) -> dict[str, dg.MetadataValue | int | float | str]:
    """Return what the UI shows: sentences, the plot, every number, and some to plot over time."""
    shown: dict[str, dg.MetadataValue | int | float | str] = {
        "summary": dg.MetadataValue.md("\n\n".join(in_words(measured))),
        "plot": dg.MetadataValue.md(picture(latency_chart(measured))),
        "measured": dg.MetadataValue.table(
            [dg.TableRecord(record) for record in records(measured)], schema=_schema(measured)
        ),
        "strategy": measured.strategy,
        "dimension": measured.dimension,
        "seconds": round(measured.seconds, 1),
    }
    for rows in measured.row_counts:
        index, stored = measured.of(INDEX, rows), measured.of(STORED, rows)
        best = measured.best_scan(rows)
        shown |= {
            f"ratio_{rows}": round(measured.ratio(index), 2),
            f"ratio_to_best_scan_{rows}": round(best.timing.p50_ms / index.timing.p50_ms, 2),
            f"index_p50_ms_{rows}": round(index.timing.p50_ms, 3),
            f"scan_p50_ms_{rows}": round(stored.timing.p50_ms, 3),
            f"recall_at_10_{rows}": round(index.timing.recall, 4),
            f"build_seconds_{rows}": round(index.prepared_seconds, 2),
            f"index_bytes_{rows}": index.sizes.indexes,
        }
    return shown


def _schema(measured: Impact) -> dg.TableSchema:
    first = records(measured)[0]
    kinds = {int: "int", float: "float", str: "string"}
    return dg.TableSchema([dg.TableColumn(name, kinds[type(first[name])]) for name in COLUMNS])
