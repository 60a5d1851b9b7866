"""Tests of the evaluation, which is beside the package."""
