"""The checklist as asset checks."""
