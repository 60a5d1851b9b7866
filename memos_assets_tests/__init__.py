"""Tests."""

import os

# pytest-xdist's workers inherit the width that readline set: the tests have no terminal.
os.environ.pop("COLUMNS", None)
