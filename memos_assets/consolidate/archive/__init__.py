"""Retired files: which may be retired, the move, manifests, checks, restoring and forgetting.

A file is moved only after its rows are proven.
"""
