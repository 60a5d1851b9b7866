"""The Dagster face: it gathers, names and schedules what the rooms below do."""
