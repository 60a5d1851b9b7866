"""What PostgreSQL should hold, computed from the stored SQLite values alone.

Never imports `consolidate.decoding`: a mistake made twice by one function proves nothing.
"""
