"""TODO room memos_assets/impact."""
