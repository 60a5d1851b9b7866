"""Writes the parts of ``docs/`` that are computed from the code: ``make docs``."""
