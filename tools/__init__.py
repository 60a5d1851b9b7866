"""Programs for work on the project: the picture, generated pages, the trial of the wheel.

The wheel has none of them.
"""
