"""Fixtures of defs, here too."""

from memos_assets_tests.defs.conftest import world

__all__ = ["world"]
