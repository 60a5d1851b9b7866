"""Tamper with a proven database in every way that we know of, and see which check notices.

Each tampering is made on a copy of one consolidated demo, and judged by the checks of the
checklist. One that no check notices is a lie that would be told, unless its reason says why not.
"""
