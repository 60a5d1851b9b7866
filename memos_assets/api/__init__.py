"""The HTTP and MCP faces: what agents send becomes calls of memory, search, cache and snapshots.

Thin, and imported by nothing. `app` makes the application, `serve` runs it, `doors` opens a session
for the bearer of a token, `problems` says what went wrong, `limits` bounds each request. One module
per group of paths. What a call does belongs to its room, and so does every check of its arguments
that a room makes.
"""
