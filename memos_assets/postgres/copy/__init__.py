"""TODO room memos_assets/postgres/copy."""
