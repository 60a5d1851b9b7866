"""The SQL functions for search as an asset."""

import dagster as dg

from memos_assets.catalog import Catalog
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, Keys
from memos_assets.defs.resources import Postgres
from memos_assets.search.function_sources import functions
from memos_assets.search.functions import install, vector_schema


def search_functions(catalog: Catalog) -> dg.AssetsDefinition:
    """Return the asset of a catalog's search functions."""
    keys, schema, tables = Keys(catalog.names), catalog.schema, catalog.searchable

    @dg.asset(
        key=keys.search_functions,
        deps=[keys.table(table.name) for table in tables if not table.live],
        group_name=catalog.names.job("search"),
        kinds={"postgres"},
        owners=OWNERS,
        description=f"`{schema}.search_<table>` by an embedding, `{schema}.match_<table>` by words "
        f"and codes, `{schema}.hybrid_<table>` by both: functions that any client of the database "
        "calls.",
    )
    def _functions(postgres: Postgres) -> dg.MaterializeResult[None]:
        """Make the functions that are missing or differ from this checkout's."""
        with reported(), postgres.engine.begin() as conn:
            made = install(conn, schema, tables)
            known = functions(schema, tables, vector_schema(conn))
        records = [
            dg.TableRecord(
                {
                    "function": f"{schema}.{function.name}",
                    "arguments": function.arguments,
                    "returns": function.returns,
                }
            )
            for function in known
        ]
        return dg.MaterializeResult(
            metadata={"made": len(made), "functions": dg.MetadataValue.table(records)}
        )

    return _functions
