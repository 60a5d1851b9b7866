"""Reads both sides again and compares. It shares no code with the loader that it judges."""
