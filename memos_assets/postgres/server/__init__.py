"""TODO room memos_assets/postgres/server."""
