"""Measure the gate and the threshold of the semantic cache on published sets of pairs."""
