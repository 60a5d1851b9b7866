"""TODO room memos_assets/runs."""
