"""SQLite files as sources: discovery, layout, encodings, chunks, pinned copies, the registry.

Nothing here decodes a value.
"""
