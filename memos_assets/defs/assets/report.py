"""The report that a person signs: what was consolidated and what is proven, as an asset."""

from collections import Counter

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.assets.indexes import indexes_of
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.defs.run_history import recorded
from memos_assets.report.compose import compose
from memos_assets.report.render import (
    markdown_latency,
    markdown_summary,
    reports_folder,
    write_report,
)


def report(catalog: Catalog) -> dg.AssetsDefinition:
    """Return the asset of a catalog's report."""
    keys = Keys(catalog.names)

    @dg.asset(
        key=keys.report,
        deps=[*(keys.table(spec.name) for spec in catalog.tables), *indexes_of(catalog)],
        group_name=catalog.names.job("report"),
        kinds={"html", "json"},
        owners=OWNERS,
        # The checks of the same run come first wherever steps run one at a time.
        op_tags={"dagster/priority": "-10"},
        description="Everything a person needs to sign: sources and digests, decisions, rows "
        "loaded and rejected by reason, the checklist, indexes, timings, versions, and what is "
        "still open.",
    )
    def _report(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> dg.MaterializeResult[None]:
        """Gather the bookkeeping tables, the evaluations of checks, and the steps of runs."""
        with reported():
            engine = postgres.engine
            history = recorded(context.instance, engine, catalog, context.run)
            written = compose(engine, catalog, history)
        path = write_report(reports_folder(postgres.settings), written)
        checks = Counter(check.status for check in written.checklist)
        latency = markdown_latency(written)
        return dg.MaterializeResult(
            metadata={
                "path": dg.MetadataValue.path(str(path)),
                "verdict": written.verdict.sentence,
                "summary": dg.MetadataValue.md(markdown_summary(written)),
                **({"search_latency": dg.MetadataValue.md(latency)} if latency else {}),
                "rows_loaded": sum(row.rows for row in written.tables),
                "rows_rejected": sum(row.rejected for row in written.tables),
                "checks_proven": checks["proven"],
                "checks_open": checks["open"],
                "checks_unproven": checks["unproven"] + checks["failed"],
            }
        )

    return _report
