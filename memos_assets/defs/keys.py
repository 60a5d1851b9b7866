"""Asset keys: made of the names that evaluations of checks are stored under."""

from dataclasses import dataclass

import dagster as dg

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import FileKind

#: Who answers for the assets.
OWNERS = ["team:memory"]


@dataclass(frozen=True, slots=True)
class Keys:
    """The asset keys of one catalog."""

    names: AssetNames

    @property
    def live_version(self) -> dg.AssetKey:
        """The version of the tables that readers see."""
        return _key(self.names.live_version)

    @property
    def search_functions(self) -> dg.AssetKey:
        """The SQL functions for search."""
        return _key(self.names.search_functions)

    @property
    def report(self) -> dg.AssetKey:
        """The report that a person signs."""
        return _key(self.names.report)

    @property
    def impact(self) -> dg.AssetKey:
        """The measurement of an index's worth."""
        return _key(self.names.table("impact"))

    @property
    def other_files(self) -> dg.AssetKey:
        """SQLite files of no kind that is consolidated or observed."""
        return _key(self.names.source("other_files"))

    def source(self, kind: FileKind) -> dg.AssetKey:
        """Return the asset key of a kind of file."""
        return _key(self.names.source(kind.name))

    def archive(self, group: str) -> dg.AssetKey:
        """Return the asset key of a kind's retired files."""
        return _key(self.names.archive(group))

    def table(self, name: str) -> dg.AssetKey:
        """Return the asset key of a table, or of a group of the application's tables."""
        return _key(self.names.table(name))

    def tables(self, kind: FileKind) -> list[dg.AssetKey]:
        """Return the asset keys of the tables that a kind of file is loaded into."""
        return [self.table(spec.name) for spec in kind.tables]

    def index(self, name: str) -> dg.AssetKey:
        """Return the asset key of a search index."""
        return _key(self.names.index(name))


def _key(name: str) -> dg.AssetKey:
    return dg.AssetKey.from_user_string(name)
