"""The code location of memOS. Nothing here computes; it only gathers."""

import dagster as dg

from memos_assets.catalog import MEMOS
from memos_assets.defs.location import location_of


@dg.definitions
def defs() -> dg.Definitions:
    """Everything, wired to the one database that `settings` names; loading needs neither."""
    return location_of(MEMOS)
