"""Health of tables and indexes, what is pending, and the work that mends it."""
