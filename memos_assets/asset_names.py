"""Names of assets, as Dagster's keys and the stored evaluations of checks spell them."""

#: The asset of the version of the tables that readers see.
LIVE_VERSION = "memos/live_version"
#: The asset of the SQL functions for search.
SEARCH_FUNCTIONS = "memos/search_functions"


def source_name(kind: str) -> str:
    """Return the asset of a kind of file, as evaluations name it."""
    return f"sqlite/{kind}"


def table_name(table: str) -> str:
    """Return the asset of a consolidated table."""
    return f"memos/{table}"


def index_name(index: str) -> str:
    """Return the asset of a search index."""
    return f"memos/indexes/{index}"


def archive_name(group: str) -> str:
    """Return the asset of the archived files of a group."""
    return f"archive/{group}"
