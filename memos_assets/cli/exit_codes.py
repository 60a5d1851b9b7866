"""Exit codes of every command."""

#: Something failed or is not proven.
FAILED = 1
#: Wrong use, or input that cannot be used.
MISUSE = 2
#: Ctrl+C.
INTERRUPTED = 130
