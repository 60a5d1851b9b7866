"""Fixtures of defs, here too."""

from memos_assets_tests.defs.conftest import consolidated, consolidated_worlds, world

__all__ = ["consolidated", "consolidated_worlds", "world"]
