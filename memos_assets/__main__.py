"""`python -m memos_assets` is `memos-assets`."""

from memos_assets.cli import main

main()
