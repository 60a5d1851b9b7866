"""The report: what was consolidated and what is proven, as a file and as an asset."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg

from memos_assets.catalog import TABLES
from memos_assets.consolidate.summary import pinned_files, summarise
from memos_assets.defs.assets.indexes import INDEXES
from memos_assets.defs.assets.sources import OWNERS, consolidation_of
from memos_assets.defs.assets.tables import table_key
from memos_assets.defs.checks.checklist import checks
from memos_assets.defs.evaluations import latest_evaluations, outcomes
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.postgres.engine import check_server

#: Packages whose versions a reader of the report may have to know.
_PACKAGES = ("memos-assets", "dagster", "sqlalchemy", "psycopg", "pyarrow", "numpy")
_UPSTREAM = [
    *(table_key(spec) for spec in TABLES),
    *INDEXES,
]


def check_keys() -> list[dg.AssetCheckKey]:
    """Return every check of the checklist."""
    return sorted(key for definition in checks for key in definition.check_keys)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Write the report beside its place and rename it, so that no half of one is ever read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)


@dg.asset(
    key=["memos", "report"],
    deps=_UPSTREAM,
    group_name="report",
    kinds={"json"},
    owners=OWNERS,
    # The checks of the same run come first wherever steps run one at a time.
    op_tags={"dagster/priority": "-10"},
    description="Sources and digests, rows loaded and rejected by reason, and the checklist.",
)
def report(context: dg.AssetExecutionContext, postgres: Postgres) -> dg.MaterializeResult[None]:
    """Sum up the books and the latest evaluation of every check."""
    with reported():
        with postgres.engine.connect() as conn:
            summaries, files = summarise(conn), pinned_files(conn)
        facts = check_server(postgres.engine)
    keys = check_keys()
    claims = outcomes(keys, latest_evaluations(context.instance, keys))
    consolidation = consolidation_of(context.run)
    content = {
        "consolidation": consolidation,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sources": files,
        "tables": [
            {name: getattr(summary, name) for name in summary.__slots__} for summary in summaries
        ],
        "checklist": [
            {
                "check": outcome.claim.label,
                "claim": outcome.claim.claim,
                "passed": outcome.passed,
                "failed": [
                    {"asset": e.asset, "expected": e.expected, "observed": e.observed}
                    for e in outcome.failed
                ],
                "unproven": list(outcome.unproven),
            }
            for outcome in claims
        ],
        "versions": {
            "postgresql": facts.server,
            "pgvector": facts.pgvector,
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    }
    path = postgres.settings.home / "reports" / f"{consolidation}.json"
    write_report(path, content)
    rows = [
        f"| {s.table} | {s.source} | {s.source_rows} | {s.rows} | {s.rejected} |" for s in summaries
    ]
    return dg.MaterializeResult(
        metadata={
            "path": dg.MetadataValue.path(str(path)),
            "rows_loaded": sum(s.rows for s in summaries),
            "rows_rejected": sum(s.rejected for s in summaries),
            "claims_proven": sum(outcome.proven for outcome in claims),
            "claims_open": sum(not outcome.proven for outcome in claims),
            "tables": dg.MetadataValue.md(
                "\n".join(
                    [
                        "| table | source | rows | loaded | rejected |",
                        "|---|---|--:|--:|--:|",
                        *rows,
                    ]
                )
            ),
        }
    )
