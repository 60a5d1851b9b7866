"""Jobs: observe the sources, migrate one kind of file, then index, check, report, and upkeep."""

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, FileKind
from memos_assets.checklist import CHECKLIST, PROOF
from memos_assets.defs.assets.snapshots import snapshot_jobs
from memos_assets.defs.boards import board_jobs
from memos_assets.defs.caches import cache_jobs
from memos_assets.defs.checks.steps import check_keys
from memos_assets.defs.dagster_internals import UnresolvedAssetJobDefinition
from memos_assets.defs.keys import Keys
from memos_assets.defs.maintenance import maintain_indexes
from memos_assets.defs.memory_models import memory_model_jobs
from memos_assets.defs.research import answer_question
from memos_assets.defs.retirement import retire_files
from memos_assets.defs.tags import UPKEEP
from memos_assets.remediation_plan import plan_checks

#: Names of jobs; those of other catalogs than memOS's begin with their prefix.
FINISH, VERIFY, REPORT = "index_check_report", "verify_checklist", "write_report"
ARCHIVE, HEALTH, MAINTAIN = "report_archive", "check_index_health", "maintain_indexes"
IMPACT, RETIRE = "measure_impact", "retire_files"
MEMORY = "check_memory"
PLAN = "verify_remediation_plan"

Job = dg.JobDefinition | UnresolvedAssetJobDefinition


def migrate(kind: FileKind) -> str:
    """Return the name of the job that loads a kind of file."""
    return f"migrate_{kind.name}"


def migrate_job_name(names: AssetNames, kind: FileKind) -> str:
    """Return the name of the same job in a catalog."""
    return names.job(migrate(kind))


def jobs_of(catalog: Catalog) -> list[Job]:
    """Return the jobs of a catalog."""
    memory = _memory_jobs(catalog) if catalog.application else ()
    return [*_observe_jobs(catalog), *_migrate_jobs(catalog), *_other_jobs(catalog), *memory]


# A job's partitioned assets must share one definition, so there is one job per kind here too.
def _observe_jobs(catalog: Catalog) -> list[Job]:
    names, keys = catalog.names, Keys(catalog.names)
    in_place = [*(keys.source(kind) for kind in catalog.kept), keys.other_files]
    return [
        *(
            dg.define_asset_job(
                names.job(f"observe_{kind.name}"),
                selection=dg.AssetSelection.assets(keys.source(kind)),
                description=f"Pin {kind.name} files that changed, and register new chunks.",
            )
            for kind in catalog.consolidated
        ),
        dg.define_asset_job(
            names.job("observe_files_in_place"),
            selection=dg.AssetSelection.assets(*in_place),
            description="Take the census of the caches, and list every other file.",
        ),
    ]


def _migrate_jobs(catalog: Catalog) -> list[Job]:
    keys = Keys(catalog.names)
    of_loads = check_keys(CHECKLIST.of_group("load"), catalog)
    return [
        dg.define_asset_job(
            migrate_job_name(catalog.names, kind),
            selection=dg.AssetSelection.assets(*keys.tables(kind))
            - dg.AssetSelection.all_asset_checks()
            | dg.AssetSelection.checks(
                *(key for key in of_loads if key.asset_key in keys.tables(kind))
            ),
            description=f"Load chunks of {kind.name} files, and compare them. Chunks in the "
            "ledger are not copied again.",
        )
        for kind in catalog.consolidated
    ]


def _memory_jobs(catalog: Catalog) -> list[Job]:
    """Return the jobs about the memory of agents, which belongs to an application."""
    names = catalog.names
    checks = check_keys(CHECKLIST.of_group("memory"), catalog)
    counted = ("memories", "links", "words", "spaces", "proposals", "seeds", "erasures")
    keys = [names.agent(name) for name in (*counted, "ranking", "quality", "graph_health")]
    of_snapshots = check_keys(CHECKLIST.of_group("snapshots"), catalog)
    return [
        *memory_model_jobs(names),
        *cache_jobs(catalog),
        *board_jobs(catalog),
        answer_question(names).to_job(
            description="Answer a question from corpora and memory; the configuration names the "
            "question and the user.",
        ),
        *snapshot_jobs(names, dg.AssetSelection.checks(*of_snapshots), UPKEEP),
        dg.define_asset_job(
            names.job(MEMORY),
            selection=dg.AssetSelection.assets(*keys, names.service_sources).without_checks()
            | dg.AssetSelection.checks(*checks),
            tags=UPKEEP,
            description="Count what agents remember, ask the golden queries, and run every check "
            "of memory.",
        ),
        dg.define_asset_job(
            names.job(PLAN),
            selection=dg.AssetSelection.checks(*check_keys(plan_checks(CHECKLIST), catalog)),
            tags=UPKEEP,
            description="Run the checks that answer the remediation plan's checklist, line by "
            "line; nothing is loaded and no report is written.",
        ),
        dg.define_asset_job(
            names.job("seed_memory"),
            selection=dg.AssetSelection.assets(names.agent("seed")).without_checks(),
            description="Seed a user's memory from memOS's consolidated network; the configuration "
            "names the user.",
        ),
    ]


def _other_jobs(catalog: Catalog) -> list[Job]:
    names = catalog.names
    every_check = dg.AssetSelection.checks(*check_keys(CHECKLIST, catalog))
    health = dg.AssetSelection.checks(*check_keys(CHECKLIST.of_group("health"), catalog))
    proof = dg.AssetSelection.checks(*check_keys(PROOF, catalog))

    def groups(*of: str) -> dg.AssetSelection:
        return dg.AssetSelection.groups(*map(names.job, of)) - every_check

    return [
        dg.define_asset_job(
            names.job(FINISH),
            selection=groups("application", "indexes", "search", "report") | proof,
            tags=UPKEEP,
            description="Build the indexes, run the whole checklist, write the report.",
        ),
        dg.define_asset_job(
            names.job(VERIFY),
            selection=groups("report") | proof,
            tags=UPKEEP,
            description="Run the whole checklist, both sides are read again, and write the report.",
        ),
        dg.define_asset_job(
            names.job(REPORT),
            selection=groups("report"),
            description="Write the report as things stand: for a run whose own report a red "
            "blocking check stopped, or whose indexes could not be built.",
        ),
        dg.define_asset_job(
            names.job(ARCHIVE),
            selection=dg.AssetSelection.groups(names.job("archive")),
            description="Show what is retired, and check it. Files are moved by "
            "`memos-assets retire`.",
        ),
        retire_files(catalog).to_job(
            description="Move proven files into the archive. It needs the confirmation that "
            "`memos-assets retire --dry-run` prints.",
        ),
        dg.define_asset_job(
            names.job(HEALTH),
            selection=health,
            tags=UPKEEP,
            description="Dead rows, drift, leftovers, statistics and use of tables and indexes.",
        ),
        maintain_indexes(catalog).to_job(
            tags=UPKEEP,
            description="Mend what `check_index_health` finds, beside readers and writers.",
        ),
        dg.define_asset_job(
            names.job(IMPACT),
            selection=groups("impact"),
            tags=UPKEEP,
            description="Measure what an index is worth on this machine. Reads and writes no data.",
        ),
    ]
