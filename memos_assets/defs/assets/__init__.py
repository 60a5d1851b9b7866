"""The assets: sources, tables, indexes and the report."""
