"""Names of assets, as Dagster's keys and the stored evaluations of checks spell them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AssetNames:
    """Names of the assets, jobs and partitions of one catalog; two catalogs share none.

    Attributes:
        prefix: of tables, indexes, search functions, version and report.
        sources: prefix of the kinds of SQLite file.
        archives: prefix of retired files.
        jobs: begins the names of jobs, steps, partitions and schedules.
    """

    prefix: str = "memos"
    sources: str = "sqlite"
    archives: str = "archive"
    jobs: str = ""

    @classmethod
    def under(cls, prefix: str) -> "AssetNames":
        """Return names that all begin with a prefix, so that they clash with no other catalog's."""
        return cls(prefix, f"{prefix}/sqlite", f"{prefix}/archive", f"{prefix}_")

    @property
    def live_version(self) -> str:
        """The asset of the version of the tables that readers see."""
        return f"{self.prefix}/live_version"

    @property
    def search_functions(self) -> str:
        """The asset of the SQL functions for search."""
        return f"{self.prefix}/search_functions"

    @property
    def report(self) -> str:
        """The asset of the report that a person signs."""
        return f"{self.prefix}/report"

    @property
    def service_sources(self) -> str:
        """The asset of the services' sources, whose use of sessions is checked."""
        return f"{self.prefix}/service_sources"

    def source(self, kind: str) -> str:
        """Return the asset of a kind of file."""
        return f"{self.sources}/{kind}"

    def archive(self, group: str) -> str:
        """Return the asset of the archived files of a group."""
        return f"{self.archives}/{group}"

    def table(self, table: str) -> str:
        """Return the asset of a consolidated table, or of a group of the application's tables."""
        return f"{self.prefix}/{table}"

    def agent(self, name: str) -> str:
        """Return the asset of something in schema `agent`, which agents write at run time."""
        return f"{self.prefix}/agent/{name}"

    def cache(self, name: str) -> str:
        """Return the asset of something about the cache of agents."""
        return f"{self.prefix}/cache/{name}"

    def snapshot(self, name: str) -> str:
        """Return an asset about snapshots of what agents know."""
        return f"{self.prefix}/snapshots/{name}"

    def index(self, index: str) -> str:
        """Return the asset of a search index."""
        return f"{self.prefix}/indexes/{index}"

    def job(self, name: str) -> str:
        """Return the name of a job, a step, a schedule or a set of partitions."""
        return f"{self.jobs}{name}"
