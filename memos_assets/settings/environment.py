"""The environment of this process and of those that it starts; nothing else reads it."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from memos_assets.settings.composed import Settings, variable_of

#: Events that Dagster writes at once where it can: those of a run's plan and of its chunks.
#: A small consolidation took 8.0 s with it and 9.7 s without (2026-11-22).
EVENT_BATCH = {"DAGSTER_EVENT_BATCH_SIZE": "100"}


#: Folder of the metrics of all workers; prometheus_client reads it when it is imported.
_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(folder: Path) -> None:
    """Have the processes that this one starts add up their metrics in a folder."""
    os.environ[_METRICS] = str(folder)


def metrics_folder() -> Path | None:
    """Return the folder of the metrics of all workers; None: this process is alone."""
    found = os.environ.get(_METRICS)
    return Path(found) if found else None


def unknown_variables() -> Mapping[str, str | None]:
    """Return each variable that begins with MEMOS_ and is not a setting -> the setting like it."""
    known = [variable_of(name) for name in Settings.model_fields]
    return {
        name: next(iter(get_close_matches(name, known, 1, 0.85)), None)
        for name in sorted(os.environ)
        if name.startswith("MEMOS_") and name not in known
    }


def batch_dagster_events() -> None:
    """Have this process write Dagster's events in batches, unless it was told otherwise."""
    for name, value in EVENT_BATCH.items():
        os.environ.setdefault(name, value)


def environment_for_dagster(settings: Settings) -> dict[str, str]:
    """Return the environment in which Dagster's own commands find the same state."""
    return {
        **EVENT_BATCH,
        **os.environ,
        "DAGSTER_HOME": str(settings.dagster_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "MEMOS_HOME": str(settings.home),
    }


def environment_with_password(password: str | None) -> dict[str, str]:
    """Return the environment of a PostgreSQL program; arguments are seen by every process."""
    return {
        **os.environ,
        **({} if password is None else {"PGPASSWORD": password}),
        "LC_ALL": "C",
    }
