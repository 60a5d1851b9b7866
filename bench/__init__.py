"""Races against the limits and the usual ways, whole and side by side. Measures; asserts nothing.

Run as ``python -m bench``; docs/benchmarks.md says what each race measures.
"""
