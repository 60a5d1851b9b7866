"""TODO room memos_assets/proof/search."""
