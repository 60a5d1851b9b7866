"""The Dagster face: keys, tags, assets, checks, jobs, schedules, sensors, I/O managers.

Thin: what is computed is computed in the rooms below.
"""
