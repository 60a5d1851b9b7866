"""Agent memory in the caller's session: remember, recall, link, explain, forget.

Every function here is given a session, executes on it, and leaves commit, rollback and close to the
caller. No model is called while a session is in use. No Dagster.
"""
