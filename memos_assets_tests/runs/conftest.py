"""Fixtures of defs, here too."""

from memos_assets_tests.defs.conftest import consolidated, world

__all__ = ["consolidated", "world"]
