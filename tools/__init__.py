"""Programs for work on the project: generated pages, the wheel's trial. The wheel has none."""
