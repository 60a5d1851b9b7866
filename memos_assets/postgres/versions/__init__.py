"""Versions of the consolidated tables: a shadow, the swap, former versions, what depends on them.

When to swap is decided in `runs`.
"""
