"""The SQL functions for search as an asset."""

import dagster as dg

from memos_assets.catalog import TABLES
from memos_assets.defs.failures import reported
from memos_assets.defs.keys import OWNERS, SEARCH_FUNCTIONS, table_key
from memos_assets.defs.resources import Postgres
from memos_assets.search.function_sources import functions
from memos_assets.search.functions import install, vector_schema
from memos_assets.search.searchable import SEARCHABLES


@dg.asset(
    key=SEARCH_FUNCTIONS,
    deps=[table_key(spec) for spec in TABLES if spec.name in SEARCHABLES],
    group_name="search",
    kinds={"postgres"},
    owners=OWNERS,
    description="`memos.search_<table>` by an embedding, `memos.match_<table>` by words and codes, "
    "`memos.hybrid_<table>` by both: functions that any client of the database calls.",
)
def search_functions(postgres: Postgres) -> dg.MaterializeResult[None]:
    """Make the functions that are missing or differ from this checkout's."""
    with reported(), postgres.engine.begin() as conn:
        made = install(conn)
        known = functions(vector_schema(conn))
    records = [
        dg.TableRecord(
            {
                "function": f"memos.{function.name}",
                "arguments": function.arguments,
                "returns": function.returns,
            }
        )
        for function in known
    ]
    return dg.MaterializeResult(
        metadata={"made": len(made), "functions": dg.MetadataValue.table(records)}
    )
