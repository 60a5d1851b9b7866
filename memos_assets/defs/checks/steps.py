"""Checks as asset checks: one step for all that share their readings."""

from collections.abc import Iterator, Sequence

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, CheckContext, Checklist, Placed
from memos_assets.defs.checks.recording import evaluated
from memos_assets.defs.failures import reported
from memos_assets.defs.partitions import chunks_in_run
from memos_assets.defs.resources import Postgres


def check_steps(checklist: Checklist, catalog: Catalog) -> tuple[dg.AssetChecksDefinition, ...]:
    """Return every check on every asset that it is about."""
    steps = checklist.steps(catalog).items()
    return tuple(_step(catalog.names.job(name), placed, catalog) for name, placed in steps)


def check_keys(checklist: Checklist, catalog: Catalog) -> list[dg.AssetCheckKey]:
    """Return the keys of those checks."""
    return [
        dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), name)
        for asset, name in checklist.places(catalog)
    ]


def _spec(check: AnyCheck, asset: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        name=check.name,
        asset=dg.AssetKey.from_user_string(asset),
        description=f"{check.label}: {check.title}",
        blocking=check.blocking,
        metadata={"fix": check.fix},
    )


def _step(name: str, placed: Sequence[Placed], catalog: Catalog) -> dg.AssetChecksDefinition:
    labels = sorted({check.label for check, _ in placed})

    @dg.multi_asset_check(
        name=name,
        specs=[_spec(check, subject.asset) for check, subject in placed],
        can_subset=True,
        description=f"Judge {', '.join(labels)}.",
    )
    def _checks(
        context: dg.AssetCheckExecutionContext, postgres: Postgres
    ) -> Iterator[dg.AssetCheckResult]:
        chunks = chunks_in_run(context.instance, catalog, context.run.tags)
        reading = CheckContext(
            postgres.engine, postgres.declared(catalog), postgres.settings, chunks
        )
        # A run of chunks compares these; whole tables are for runs that are about them.
        judged = [one for one in placed if chunks is None or one[0].group == "load"]
        with reported():
            yield from evaluated(context, reading, judged)

    return _checks
