"""Progress at a terminal and in a log."""

import io
import re

import pytest
from rich.console import Console

from memos_assets.cli import display
from memos_assets.progress import Progress, report
from memos_assets.report.formatting import size


def _work() -> None:
    report(Progress("pin", "meta_buffer", total_bytes=1_000))
    report(Progress("pin", "meta_buffer", rows=14, bytes=1_000, done=True))
    report(Progress("load", "memos.thought_templates", total_rows=14, total_bytes=2_500))
    report(Progress("load", "memos.thought_templates", rows=14, bytes=2_500))
    report(Progress("load", "memos.thought_templates", done=True))
    report(Progress("index", "thought_templates_embedding_768_hnsw"))
    report(Progress("index", "thought_templates_embedding_768_hnsw", rows=11, bytes=500, done=True))


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_counts_rows_and_bytes_and_ends_with_a_line_per_phase(
    monkeypatch: pytest.MonkeyPatch, *, terminal: bool
) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100, color_system=None)
    monkeypatch.setattr(display, "console", console)
    with display.live_progress():
        _work()
    # A busy machine takes its time.
    shown = re.sub(r"in \d+\.\d s", "in 0.0 s", out.getvalue())
    if terminal:
        assert "Loading memos.thought_templates" in shown
        assert "14 rows 2.5 kB" in shown
    else:
        assert "loaded memos.thought_templates: 14 rows, 2.5 kB in 0.0 s" in shown
    assert "Pinned 1 files, 14 rows, 1.0 kB in 0.0 s" in shown
    assert "Loaded 1 tables, 14 rows, 2.5 kB in 0.0 s" in shown
    assert "Indexed 1 indexes, 500 B in 0.0 s" in shown


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_500_000_000, "2.5 GB")]
)
def test_sizes_are_shown_as_people_read_them(count: int, shown: str) -> None:
    assert size(count) == shown
