"""Search in the caller's session: an embedding or a text in, hits out.

No Dagster, no command line, and nothing of how rows were loaded.
"""
