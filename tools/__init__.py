"""Programs for those who work on this project: the floor plan and its picture. Not in the wheel.

Nothing here imports the project; its files are read as text.
"""
