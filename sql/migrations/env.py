"""What Alembic runs for every command, on the connection of memos_assets.postgres.migrations."""

import importlib
from collections.abc import Mapping

from alembic import context
from sqlalchemy import MetaData

from memos_assets.catalog import MEMOS
from memos_assets.postgres import schemas
from memos_assets.postgres.migrations import VERSION_SCHEMA, VERSION_TABLE
from memos_assets.postgres.schema.consolidated import tables_of

# Of the tables in `public` only those of memOS are described.
COMPARED = frozenset(schema.name for schema in schemas.SCHEMAS if schema.compared)
APPLICATION = frozenset(table.name for table in MEMOS.application_tables)
# Embeddings of agents are in one table per registered model, which no revision makes.
MODEL_TABLE = "embeddings_"
# Search indexes are assets: built after loads, absent before, and none of the schema's business.
ASSET_INDEXES = ("_hnsw", "_gin")


def include_name(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    if kind == "schema":
        return name in COMPARED
    if kind == "table" and parents.get("schema_name") == schemas.APPLICATION.name:
        return name in APPLICATION
    if kind == "table" and parents.get("schema_name") == schemas.AGENT.name:
        return not (name or "").startswith(MODEL_TABLE)
    return True


def include_object(
    _item: object, name: str | None, kind: str, _reflected: object, _other: object
) -> bool:
    return kind != "index" or not (name or "").endswith(ASSET_INDEXES)


def target_metadata() -> list[MetaData]:
    try:
        tables = importlib.import_module("memos_assets.postgres.schema.tables")
        agent = importlib.import_module("memos_assets.postgres.schema.agent")
        # Their tables are in the metadata of `agent`.
        importlib.import_module("memos_assets.postgres.schema.agent_cache")
        importlib.import_module("memos_assets.postgres.schema.agent_board")
        importlib.import_module("memos_assets.postgres.schema.agent_tokens")
        application = importlib.import_module("memos_assets.postgres.application.tables")
    except ModuleNotFoundError as error:
        if error.name not in (
            "memos_assets.postgres.schema.tables",
            "memos_assets.postgres.schema.agent",
            "memos_assets.postgres.schema.agent_cache",
            "memos_assets.postgres.schema.agent_board",
            "memos_assets.postgres.schema.agent_tokens",
            "memos_assets.postgres.application.tables",
        ):
            raise
        return []
    return [tables.metadata, agent.metadata, tables_of(MEMOS), application.metadata]


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=target_metadata(),
    version_table=VERSION_TABLE,
    version_table_schema=VERSION_SCHEMA,
    include_schemas=True,
    include_name=include_name,
    include_object=include_object,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
