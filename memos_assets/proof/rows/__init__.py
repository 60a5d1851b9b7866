"""Rows of both sides, streamed, compared by digest, and the checks of tables and sources."""
