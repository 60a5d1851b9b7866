"""Kills of a real consolidation at random moments, and what is there afterwards.

Run as ``python -m faults``; docs/benchmarks.md says how it judges.
"""
