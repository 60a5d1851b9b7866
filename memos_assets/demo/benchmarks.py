"""Files under tests/data that other programs own: no embeddings, nothing to migrate."""

import json
from collections.abc import Iterator
from pathlib import Path

from memos_assets.demo.manifest import FileManifest
from memos_assets.demo.scales import Rows
from memos_assets.demo.store import DemoStore, SqlValue
from memos_assets.demo.texts import code, iso_offset

BENCHMARK_LAYOUT = (
    """CREATE TABLE benchmark_runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model TEXT NOT NULL,
    context_id TEXT,
    started_at TEXT,
    duration_ms REAL,
    tokens_per_second REAL,
    answer TEXT,
    scores TEXT
)""",
    """CREATE TABLE test_contexts (
    context_id TEXT PRIMARY KEY,
    prompt TEXT NOT NULL
)""",
    """CREATE TABLE model_rankings (
    model TEXT PRIMARY KEY,
    rank INTEGER,
    score REAL
)""",
)
RESULT_LAYOUT = (
    """CREATE TABLE test_results (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    test_name TEXT NOT NULL,
    passed INTEGER,
    finished_at TEXT
)""",
    """CREATE TABLE test_logs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    test_result_id INTEGER,
    line TEXT
)""",
    """CREATE TABLE issue_tracker (
    issue_id TEXT PRIMARY KEY,
    severity TEXT,
    title TEXT
)""",
)
_MODELS = ("qwen3:8b", "gemma3:4b", "llama3.2:3b")


def write_model_benchmarks(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write the file memOS's model configuration reads; deleting it by a pattern would hurt."""
    store = DemoStore(path, BENCHMARK_LAYOUT)

    def runs() -> Iterator[tuple[SqlValue, ...]]:
        for index in range(rows.benchmarks):
            yield (
                _MODELS[index % 3],
                f"context-{index % 5}",
                iso_offset(index * 60),
                800.5 + index,
                31.25,
                code(seed, index).remedy,
                json.dumps({"relevance": 0.5 + index % 50 / 100}),
            )

    try:
        store.insert(
            "benchmark_runs",
            (
                "model",
                "context_id",
                "started_at",
                "duration_ms",
                "tokens_per_second",
                "answer",
                "scores",
            ),
            runs(),
        )
        store.insert(
            "test_contexts",
            ("context_id", "prompt"),
            ((f"context-{index}", f"Explain {code(seed, index).title}") for index in range(5)),
        )
        store.insert(
            "model_rankings",
            ("model", "rank", "score"),
            ((model, order + 1, 0.9 - order / 10) for order, model in enumerate(_MODELS)),
        )
        return store.finish(relative)
    finally:
        store.close()


def write_test_results(path: Path, relative: str, seed: str, rows: Rows) -> FileManifest:
    """Write what a test script recorded."""
    store = DemoStore(path, RESULT_LAYOUT)
    count = rows.benchmarks
    try:
        store.insert(
            "test_results",
            ("test_name", "passed", "finished_at"),
            (
                (f"test_{index % 20}", int(index % 9 > 0), iso_offset(index))
                for index in range(count)
            ),
        )
        store.insert(
            "test_logs",
            ("test_result_id", "line"),
            ((index + 1, code(seed, index).title) for index in range(count)),
        )
        store.insert(
            "issue_tracker",
            ("issue_id", "severity", "title"),
            ((f"ISSUE-{index}", "low", code(seed, index).topic) for index in range(4)),
        )
        return store.finish(relative)
    finally:
        store.close()
