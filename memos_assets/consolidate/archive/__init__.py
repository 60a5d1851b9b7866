"""TODO room memos_assets/consolidate/archive."""
