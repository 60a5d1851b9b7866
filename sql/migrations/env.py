"""What Alembic runs for every command, on the connection of memos_assets.postgres.migrations."""

import importlib

from alembic import context
from sqlalchemy import MetaData

from memos_assets.postgres.migrations import VERSION_SCHEMA, VERSION_TABLE

SCHEMAS = frozenset({"memos", "memos_ops"})
# Search indexes are assets: built after loads, absent before, and none of the schema's business.
ASSET_INDEXES = ("_hnsw", "_gin")


def include_name(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name in SCHEMAS


def include_object(
    _item: object, name: str | None, kind: str, _reflected: object, _other: object
) -> bool:
    return kind != "index" or not (name or "").endswith(ASSET_INDEXES)


def target_metadata() -> MetaData | None:
    try:
        return importlib.import_module("memos_assets.postgres.tables").metadata
    except ModuleNotFoundError as error:
        if error.name != "memos_assets.postgres.tables":
            raise
        return None


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
