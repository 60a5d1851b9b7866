"""What checks of memory are about, and the step of a run in which they are judged."""

from collections.abc import Iterator
from typing import Final

from memos_assets.catalog import Catalog
from memos_assets.check import Subject

STEP: Final = "memory_checks"


def memories_asset(catalog: Catalog) -> Iterator[Subject[str]]:
    """Yield the asset of memOS's memories, on which checks of memory are shown."""
    for asset, specs in catalog.application.items():
        if any(spec.owner for spec in specs):
            yield Subject(catalog.names.table(asset), asset, STEP)
