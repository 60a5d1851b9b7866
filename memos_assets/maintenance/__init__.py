"""Health checks of tables and indexes, the pending maintenance work, and its execution."""
