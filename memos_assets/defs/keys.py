"""Asset keys: made of the names that evaluations of checks are stored under."""

import dagster as dg

from memos_assets import asset_names
from memos_assets.catalog import FileKind, IndexedTable

#: Who answers for the assets.
OWNERS = ["team:memory"]

#: The version of the tables that readers see.
LIVE_VERSION = dg.AssetKey.from_user_string(asset_names.LIVE_VERSION)
#: The SQL functions for search.
SEARCH_FUNCTIONS = dg.AssetKey.from_user_string(asset_names.SEARCH_FUNCTIONS)
#: SQLite files of no kind that is consolidated or observed.
OTHER_FILES = dg.AssetKey.from_user_string(asset_names.source_name("other_files"))


def source_key(kind: FileKind) -> dg.AssetKey:
    """Return the asset key of a kind of file."""
    return dg.AssetKey.from_user_string(asset_names.source_name(kind.name))


def archive_key(group: str) -> dg.AssetKey:
    """Return the asset key of a kind's retired files."""
    return dg.AssetKey.from_user_string(asset_names.archive_name(group))


def table_key(spec: IndexedTable) -> dg.AssetKey:
    """Return the asset key of a consolidated table, or of one of memOS that is searched."""
    return dg.AssetKey.from_user_string(asset_names.table_name(spec.name))


def application_key(asset: str) -> dg.AssetKey:
    """Return the asset key of a group of memOS's own tables."""
    return dg.AssetKey.from_user_string(asset_names.table_name(asset))


def index_key(name: str) -> dg.AssetKey:
    """Return the asset key of a search index."""
    return dg.AssetKey.from_user_string(asset_names.index_name(name))
