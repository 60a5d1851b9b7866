"""TODO room memos_assets/proof/rows."""
