"""The cache of agents: answers by their key and by their meaning, computed once per miss."""
