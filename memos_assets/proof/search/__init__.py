"""PostgreSQL's search results against ground truth that is computed from the source files."""
