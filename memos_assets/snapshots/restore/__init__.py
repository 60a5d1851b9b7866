"""Restore a snapshot: show what would change, exchange everything, some rows, or make a fork.

`plan` counts what would change. `exact` loads a schema beside the live one, proves it, and
exchanges the tables in one transaction. `rows` puts single rows back with what hangs on them.
`fork` makes a schema of its own to experiment in.

Not here: recalls (`memory`), which prove a restore by a function that is given.
"""
