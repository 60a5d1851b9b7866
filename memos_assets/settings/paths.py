"""The place of this project's own files."""

from pathlib import Path

#: The checkout: pyproject.toml, dagster.yaml and sql/ are there.
PROJECT_ROOT = Path(__file__).resolve().parents[2]
