"""Runs of the definitions, as commands start them: consolidation, swap, retirement, instance.

Stands above `definitions`; no asset imports it.
"""
