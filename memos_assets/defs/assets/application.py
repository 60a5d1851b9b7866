"""memOS's own tables as assets: materialising reports what is there, and changes nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import sqlalchemy as sa

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import ApplicationTable, Catalog
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.postgres.application.presence import NOT_HERE, application_is_absent
from memos_assets.postgres.application.state import (
    embedding_models,
    memories_facts,
    quests_facts,
    table_states,
    users_spelt_twice,
)

_FACTS = {"memories": memories_facts, "quests": quests_facts}


def _asset_spec(catalog: Catalog, asset: str, specs: Sequence[ApplicationTable]) -> dg.AssetSpec:
    listed = "\n".join(f"* `{spec.qualified}`: {spec.about}" for spec in specs)
    return dg.AssetSpec(
        key=Keys(catalog.names).table(asset),
        group_name=catalog.names.job("application"),
        kinds={"postgres", "table"},
        owners=OWNERS,
        code_version=specs[0].fingerprint,
        description="Tables of memOS, adopted where they are, if they are. Materialising reports "
        f"what they hold and their known defects; it changes nothing.\n\n{listed}",
        metadata={"dagster/table_name": specs[0].qualified},
        skippable=True,
    ).with_io_manager_key("postgres_table")


def application_step(names: AssetNames) -> str:
    """Return the name of the step that reports the application's tables."""
    return names.job("application_tables")


def application_assets(catalog: Catalog) -> list[dg.AssetsDefinition]:
    """Return the application's own tables, which one step reports; nothing where it has none."""
    keys = Keys(catalog.names)
    if not catalog.application:
        return []

    @dg.multi_asset(
        name=application_step(catalog.names),
        specs=[_asset_spec(catalog, asset, specs) for asset, specs in catalog.application.items()],
        can_subset=True,
    )
    def _tables(
        context: dg.AssetExecutionContext, postgres: Postgres
    ) -> Iterator[dg.MaterializeResult]:
        """Count rows, embeddings and known defects of the selected tables."""
        for asset, specs in catalog.application.items():
            key = keys.table(asset)
            if key in context.selected_asset_keys:
                with reported(), postgres.engine.connect() as conn:
                    metadata = _described(conn, asset, specs)
                yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return [_tables]


def _described(
    conn: sa.Connection, asset: str, specs: Sequence[ApplicationTable]
) -> dict[str, Any]:
    if application_is_absent(conn):
        return {"dagster/row_count": 0, "tables": NOT_HERE}
    states = table_states(conn, specs)
    shown: dict[str, Any] = {
        "dagster/row_count": states[0].rows,
        "tables": dg.MetadataValue.table(
            [
                dg.TableRecord(
                    {
                        "table": state.name,
                        "rows": state.rows,
                        "origin": "adopted" if state.adopted else "created",
                        "original spellings kept": state.originals,
                    }
                )
                for state in states
            ]
        ),
    }
    if asset in _FACTS:
        shown |= _FACTS[asset](conn)
        pairs = [dg.TableRecord({"id": s, "begins": w}) for s, w in users_spelt_twice(conn)]
        shown["users_spelt_twice"] = len(pairs)
        if pairs:
            shown["spellings"] = dg.MetadataValue.table(pairs)
    if asset == "memories":
        models = [
            dg.TableRecord({"model": model, "dimension": dim, "rows": rows})
            for model, dim, rows in embedding_models(conn)
        ]
        if models:
            shown["embeddings"] = dg.MetadataValue.table(models)
    return shown
