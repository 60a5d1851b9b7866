"""TODO room memos_assets/consolidate/sources."""
