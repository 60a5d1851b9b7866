"""Search indexes: which there are, what they cost, how they are built. Searches are in `search`."""
