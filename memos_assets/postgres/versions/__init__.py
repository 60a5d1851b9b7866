"""TODO room memos_assets/postgres/versions."""
