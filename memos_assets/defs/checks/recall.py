"""V16, V17 and V18: search against the truth of the files, one step per kind of file.

They are blocking: where one is red its run fails, and what comes after the index does not go on.
That is the report of the same run, which is then written by a run of its own, see `write_report`
in `jobs`, and the swap of a shadow, which takes place only where no step failed.
"""

from collections.abc import Iterator

import dagster as dg
import sqlalchemy as sa

from memos_assets.catalog import Catalog, FileKind
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import Keys
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding
from memos_assets.proof.search.recall import CLAIMS_ABOUT_SEARCH, findings_about_search


def recall_checks(catalog: Catalog, kind: FileKind) -> dg.AssetChecksDefinition:
    """Return the checks of searches in a kind's tables; the files of a table are read once."""
    keys = Keys(catalog.names)
    specs = [
        check_spec(name, keys.index(index.name))
        for spec in kind.tables
        for index in spec.vector_indexes
        for name in CLAIMS_ABOUT_SEARCH
    ]

    @dg.multi_asset_check(
        name=catalog.names.job(f"{kind.name}_recall_checks"), specs=specs, can_subset=True
    )
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            declared = postgres.declared(catalog).kind(kind.name)
            found = _findings(context, postgres.engine, keys, declared)
            yield from evaluated(context, postgres.engine, catalog, found)

    return _checks


def _findings(
    context: dg.AssetCheckExecutionContext, engine: sa.Engine, keys: Keys, kind: FileKind
) -> Iterator[tuple[dg.AssetKey, str, Finding]]:
    """Yield what is found of the tables of which the run asks something."""
    asked = {key.asset_key for key in context.selected_asset_check_keys}
    for spec in kind.tables:
        if asked & {keys.index(index.name) for index in spec.vector_indexes}:
            for (name, index), finding in findings_about_search(engine, kind, spec).items():
                yield keys.index(index), name, finding


def checks(catalog: Catalog) -> list[dg.AssetChecksDefinition]:
    """Return the checks of searches."""
    return [
        recall_checks(catalog, kind)
        for kind in catalog.consolidated
        if any(spec.vector_indexes for spec in kind.tables)
    ]
