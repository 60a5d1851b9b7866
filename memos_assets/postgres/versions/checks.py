"""V14: the live version is whole; within a consolidation that swaps, the shadow."""

from collections.abc import Iterator

from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, Subject, by_connection
from memos_assets.postgres.versions.versions import version_is_complete


def _version(catalog: Catalog) -> Iterator[Subject[Catalog]]:
    yield Subject(catalog.names.live_version, catalog, "version_checks")


CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=14,
        name="v14_live_version_is_complete",
        title="The live tables are one whole version, as the ledger says, and former ones are "
        "kept.",
        fix="consolidate --swap makes a whole one; versions --prune drops what was left behind",
        where="the live version; while a consolidation swaps, the shadow",
        reads="every table's key and row count against the ledger; schemas of versions that are "
        "kept; shadows left behind",
        when_failed="`memos-assets consolidate --swap` loads a whole version; `memos-assets "
        "versions --prune` drops what was left behind.",
        subjects=_version,
        judge=by_connection(version_is_complete),
    ),
)
