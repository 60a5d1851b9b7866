"""Search indexes: their definitions, their costs, their builds.

Queries are in `search`; what is worn and rebuilt is in `maintenance`.
"""
