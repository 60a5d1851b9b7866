"""TODO room memos_assets/consolidate/rejects."""
