"""TODO room memos_assets/postgres/schema."""
