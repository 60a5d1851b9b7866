"""TODO room memos_assets/consolidate/loading."""
