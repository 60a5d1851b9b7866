"""TODO room memos_assets/consolidate/decoding."""
