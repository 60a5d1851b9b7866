"""Maintenance as an op: it takes its turn among the builds of indexes, and shows what it did."""

from collections.abc import Sequence

import dagster as dg
from pydantic import Field

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog
from memos_assets.defs.assets.indexes import BUILD_POOL
from memos_assets.defs.failures import reported
from memos_assets.defs.resources import Postgres
from memos_assets.maintenance.maintain import Done, described, maintain
from memos_assets.maintenance.pending import scope_of


class Maintenance(dg.Config):
    """What to maintain."""

    names: list[str] = Field(default=[], description="Tables and indexes; all if none is named.")
    rebuild: bool = Field(
        default=False, description="Rebuild the indexes that are named though nothing is wrong."
    )


def maintain_step(names: AssetNames) -> str:
    """Return the name of the step that maintains, under which it is configured."""
    return names.job("maintain")


def maintain_indexes(catalog: Catalog) -> dg.GraphDefinition:
    """Return the maintenance of a catalog's tables and indexes."""

    @dg.op(
        name=maintain_step(catalog.names),
        pool=BUILD_POOL,
        out=dg.Out(dg.Nothing),
        description="Drop leftovers of broken rebuilds, VACUUM, ANALYZE, REINDEX CONCURRENTLY.",
    )
    def _maintain(context: dg.OpExecutionContext, config: Maintenance, postgres: Postgres) -> None:
        """Do what is due, one object at a time; the step fails at the end if something did."""
        with reported():
            scope = scope_of(catalog, config.names, rebuild=config.rebuild)
            memory = postgres.settings.maintenance_work_mem_mb
            done: list[Done] = []
            for one in maintain(postgres.engine, scope, maintenance_work_mem_mb=memory):
                context.log.info(described(one))
                done.append(one)
            context.add_output_metadata(_metadata(done))
        errors = [one.error for one in done if one.error is not None]
        if errors:
            raise dg.Failure(
                description="\n".join(map(str, errors)),
                metadata={"code": ", ".join(sorted({error.code for error in errors}))},
                allow_retries=False,
            )

    @dg.graph(name=catalog.names.job("maintain_indexes"))
    def _maintain_indexes() -> None:
        """Mend what the health checks find."""
        _maintain()

    return _maintain_indexes


def _metadata(done: Sequence[Done]) -> dict[str, dg.MetadataValue | int]:
    records = [
        dg.TableRecord(
            {
                "action": one.work.action,
                "object": one.work.what,
                "why": one.work.why,
                "bytes before": one.bytes_before,
                "bytes after": one.bytes_after,
                "seconds": round(one.seconds, 3),
                "error": str(one.error or ""),
            }
        )
        for one in done
    ]
    metadata: dict[str, dg.MetadataValue | int] = {
        "objects": len(done),
        "bytes_freed": sum(one.bytes_before - one.bytes_after for one in done),
    }
    return metadata | ({"done": dg.MetadataValue.table(records)} if records else {})
