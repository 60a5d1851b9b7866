"""Search indexes: which there are, what they cost, how they are built.

Queries are in `search`; what is worn and rebuilt is in `maintenance`.
"""
