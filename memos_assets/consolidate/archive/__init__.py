"""Retired files: which may go, the move, manifests, checks, restoring and forgetting.

Nothing is moved that was not proven first.
"""
