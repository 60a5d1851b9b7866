"""TODO room memos_assets/maintenance."""
