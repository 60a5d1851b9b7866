"""The memory of agents, in the caller's session."""
