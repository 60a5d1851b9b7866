"""Measures recall of memories on questions whose evidence is known, through the public interface.

Run as ``make eval``; docs/evaluation.md says what is measured. Asserts nothing.
"""
