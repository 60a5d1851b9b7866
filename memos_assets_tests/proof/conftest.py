"""Fixtures of consolidate, here too."""

from memos_assets_tests.consolidate.conftest import shared_engine

__all__ = ["shared_engine"]
