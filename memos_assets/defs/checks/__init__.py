"""Asset checks, as Dagster runs them; what they judge is in the rooms."""
