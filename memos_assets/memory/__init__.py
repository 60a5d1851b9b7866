"""Memory of agents: remembered, recalled, linked and dated in the caller's session.

No session is opened, committed, rolled back or closed here, and no model is called while one is in
use. No Dagster, no command line.
"""
