"""Jobs: observe the sources, migrate one kind of file, then index, check, report, and upkeep."""

import dagster as dg

from memos_assets.catalog import CONSOLIDATED_KINDS, FileKind
from memos_assets.defs.assets.sources import sources_in_place
from memos_assets.defs.checks.all_checks import HEALTH_KEYS
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.keys import source_key, table_key
from memos_assets.defs.maintenance import maintain_indexes

#: Run tag of what takes long and loads nothing. One such run at a time is dequeued, so that one of
#: the two places of `concurrency.runs` in dagster.yaml is always left to loads.
UPKEEP = {"memos/upkeep": "true"}
_HEALTH = dg.AssetSelection.checks(*HEALTH_KEYS)
_PROOF = dg.AssetSelection.all_asset_checks() - _HEALTH


def migrate_job_name(kind: FileKind) -> str:
    """Return the name of the job that loads a kind of file."""
    return f"migrate_{kind.name}"


# A job's partitioned assets must share one definition, so there is one job per kind here too.
observe_jobs = [
    *(
        dg.define_asset_job(
            f"observe_{kind.name}",
            selection=dg.AssetSelection.assets(source_key(kind)),
            description=f"Pin {kind.name} files that changed, and register new chunks.",
        )
        for kind in CONSOLIDATED_KINDS
    ),
    dg.define_asset_job(
        "observe_files_in_place",
        selection=dg.AssetSelection.assets(*(asset.key for asset in sources_in_place)),
        description="Take the census of the caches, and list every other file.",
    ),
]

migrate_jobs = {
    kind.name: dg.define_asset_job(
        migrate_job_name(kind),
        selection=dg.AssetSelection.assets(*(table_key(spec) for spec in kind.tables))
        - dg.AssetSelection.all_asset_checks(),
        description=f"Load chunks of {kind.name} files. Chunks in the ledger are not copied again.",
    )
    for kind in CONSOLIDATED_KINDS
}

finish_job = dg.define_asset_job(
    "index_check_report",
    selection=(dg.AssetSelection.groups("application", "indexes", "search", "report") | _PROOF)
    - _HEALTH,
    tags=UPKEEP,
    description="Build the indexes, run the whole checklist, write the report.",
)

verify_job = dg.define_asset_job(
    "verify_checklist",
    selection=dg.AssetSelection.groups("report") | _PROOF,
    tags=UPKEEP,
    description="Run the whole checklist, both sides are read again, and write the report.",
)

health_job = dg.define_asset_job(
    "check_index_health",
    selection=_HEALTH,
    tags=UPKEEP,
    description="Dead rows, drift, leftovers, statistics and use of tables and indexes.",
)

maintenance_job = maintain_indexes.to_job(
    tags=UPKEEP,
    description="Mend what `check_index_health` finds, beside readers and writers.",
)

report_job = dg.define_asset_job(
    "write_report",
    selection=dg.AssetSelection.groups("report") - dg.AssetSelection.all_asset_checks(),
    description="Write the report as things stand: for a run whose own report a red blocking check "
    "held up, or whose indexes could not be built.",
)

archive_job = dg.define_asset_job(
    "report_archive",
    selection=dg.AssetSelection.groups("archive"),
    description="Show what is retired, and check it. Files are moved by `memos-assets retire`.",
)

impact_job = dg.define_asset_job(
    "measure_impact",
    selection=dg.AssetSelection.groups("impact"),
    tags=UPKEEP,
    description="Measure what an index is worth on this machine. Reads and writes no data.",
)

jobs: list[dg.JobDefinition | UnresolvedAssetJobDefinition] = [
    *observe_jobs,
    *migrate_jobs.values(),
    finish_job,
    verify_job,
    report_job,
    archive_job,
    health_job,
    maintenance_job,
    impact_job,
]
