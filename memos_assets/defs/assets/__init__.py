"""Assets, one module per kind."""
