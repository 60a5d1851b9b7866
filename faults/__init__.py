"""Kills of a real consolidation at random moments, and the state of the database afterwards.

Run as ``python -m faults``; docs/benchmarks.md says how it judges.
"""
