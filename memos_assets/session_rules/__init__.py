"""Rules about who makes, ends and shares database sessions, checked in Python's source text.

A service takes the session of its caller first; the caller commits. `check.check_paths` reads
files, and `rules` says each rule with its reason. Nothing is imported or run of the sources that
are checked, so they may be those of a server whose dependencies are not installed. Types are
followed through imports, attributes and returned values where the sources say them; where they do
not, a name such as ``async_session_maker`` or ``get_db`` decides.
"""
