"""Tests of the cache of agents."""
