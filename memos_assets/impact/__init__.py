"""The gain of an index on this machine, measured on tables of generated rows.

No production table is read or written.
"""
