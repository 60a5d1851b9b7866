"""TODO room memos_assets/postgres/application."""
