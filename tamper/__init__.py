"""Tamper with a proven database in every way that we know of, and see which check notices.

Each tampering is made on a copy of one consolidated demo, and judged by the checks of the
checklist. One that no check notices must have a reason why it is harmless.
"""
