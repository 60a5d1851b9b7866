"""A check step that judges one claim about one or more assets."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.checks.checklist import check_spec
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.finding import Finding

#: Reads both sides; yields each asset with what was found of it.
Judge = Callable[[Postgres], Iterable[tuple[dg.AssetKey, Finding]]]


def checks_of_one_claim(
    catalog: Catalog, name: str, claim: str, assets: Sequence[dg.AssetKey], judge: Judge
) -> dg.AssetChecksDefinition:
    """Return the step; ``judge`` describes it in the UI."""

    @dg.multi_asset_check(
        name=catalog.names.job(name),
        specs=[check_spec(claim, asset) for asset in assets],
        can_subset=True,
        description=judge.__doc__,
    )
    def check(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        with reported():
            found = ((asset, claim, finding) for asset, finding in judge(postgres))
            yield from evaluated(context, postgres.engine, catalog, found)

    return check
