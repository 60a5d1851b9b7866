"""Counts and times of requests, for Prometheus; by route, never by what a request said.

With several workers each writes into files of one folder, and a scrape of any of them adds up all.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import psutil
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)
from starlette.responses import Response

#: Labels of a request that no route answers.
NO_ROUTE: Final = "(none)"
_SECONDS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The metrics of one application."""

    def __init__(self, folder: Path | None = None) -> None:
        """Make the metrics.

        Args:
            folder: of the files of all workers; None: there is one.
        """
        self._folder = folder
        self._registry = CollectorRegistry()
        known: Mapping[str, Any] = {"registry": self._registry}
        self.requests = Counter(
            "memos_api_requests", "Answers.", ("method", "route", "status"), **known
        )
        self.seconds = Histogram(
            "memos_api_seconds", "Time to an answer's end.", ("route",), buckets=_SECONDS, **known
        )
        self.refused = Counter("memos_api_refused", "Requests refused.", ("code",), **known)
        self.active = Gauge(
            "memos_api_active_requests",
            "Requests at this moment.",
            multiprocess_mode="livesum",
            **known,
        )

    def page(self) -> Response:
        """Return all metrics as text."""
        registry = self._registry
        if self._folder is not None:
            forget_dead(self._folder)
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry, path=str(self._folder))  # type: ignore[no-untyped-call]
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


def forget_dead(folder: Path) -> None:
    """Delete what workers that were killed said of this moment; their counts go on to count."""
    for file in folder.glob("gauge_live*_*.db"):
        number = file.stem.rpartition("_")[2]
        if number.isdecimal() and not psutil.pid_exists(int(number)):
            with suppress(FileNotFoundError):
                file.unlink()
