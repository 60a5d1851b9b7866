"""The check of shape: tables of ours are those of the catalog, and nothing else is on them.

Rows are compared in `proof.rows`, search functions and search indexes in `search`.
"""
