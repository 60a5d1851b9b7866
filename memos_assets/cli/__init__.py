"""The same functions for people at a terminal. Exit 0 proven, 1 failed or unproven, 2 misuse."""

from memos_assets.cli.main import main

__all__ = ["main"]
