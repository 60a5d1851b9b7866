"""The UI of `memos-assets ui`: Dagster's web server behind a guard, its daemon, and their end.

No other web server is made here; the guard knows nothing of memOS.
"""
