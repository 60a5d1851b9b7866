"""A database, a Dagster instance and a folder of memOS files, and what tests do with them.

Worlds are of one kind of file, and so are the runs that a test only needs on its way: the checks of
every kind take four times as long. What holds for all kinds is tested with `MEMOS`.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import sqlalchemy as sa

from memos_assets.catalog import MEMOS, Catalog
from memos_assets.consolidate.loading.reload import Reload
from memos_assets.consolidate.sources.discover import FoundFile, Root, find_files
from memos_assets.consolidate.sources.observe import register_files
from memos_assets.consolidate.sources.pinned import pin_sources
from memos_assets.defs.location import location_of
from memos_assets.defs.observations import report_observed
from memos_assets.defs.partitions import chunks_name
from memos_assets.demo.meta_buffer import LAYOUT
from memos_assets.report.consolidation import Consolidation
from memos_assets.runs.consolidation import consolidate
from memos_assets.settings import Settings

#: The small kind that most tests load, and its only table.
KIND = MEMOS.kind("meta_buffer")
SPEC = MEMOS.table("thought_templates")
DIMENSION = 768
#: memOS, as if it wrote no other kind that is loaded.
ONE_KIND = replace(
    MEMOS, kinds=tuple(kind for kind in MEMOS.kinds if kind == KIND or kind.disposition == "keep")
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def write_templates(path: Path, rowids: Iterable[int]) -> None:
    """Write a meta_buffer file with one template per rowid, called ``t<rowid>``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in LAYOUT:
            connection.execute(statement)
    for rowid in rowids:
        put_template(path, f"t{rowid}", rowid=rowid)


def put_template(path: Path, name: str, *, rowid: int | None = None, pattern: str = "why") -> None:
    """Write one template as memOS does, by INSERT OR REPLACE, which moves it to a new rowid."""
    vector = np.random.default_rng(rowid or 0).standard_normal(DIMENSION).round(6)
    values = {
        "rowid": rowid,
        "id": name,
        "template_type": "causal",
        "query_pattern": pattern,
        "query_embedding": json.dumps((vector / np.linalg.norm(vector)).tolist()).encode(),
        "structure": "{}",
        "domain_hints": json.dumps({"a": 1}),
        "created_at": "2026-01-02T03:04:05+00:00",
        "updated_at": "2026-01-02T03:04:05+00:00",
    }
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            f"insert or replace into templates ({', '.join(values)}) "
            f"values ({', '.join('?' * len(values))})",
            tuple(values.values()),
        )


@cache
def location(catalog: Catalog = MEMOS) -> dg.Definitions:
    """Return the definitions of a catalog, made once: that costs half a second."""
    return location_of(catalog)


@cache
def _job(catalog: Catalog, name: str) -> dg.JobDefinition:
    return location(catalog).resolve_job_def(name)


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    """Return what each failed step says."""
    return [
        str(data.user_failure_data.description if data.user_failure_data else data.error)
        for event in result.all_events
        if event.is_step_failure
        for data in [event.step_failure_data]
    ]


@dataclass(slots=True)
class World:
    """What one test works in; `data` is the folder that is searched."""

    engine: sa.Engine
    settings: Settings
    instance: dg.DagsterInstance
    data: Path

    @property
    def roots(self) -> list[Root]:
        return [Root.parse(str(self.data))]

    def files(self) -> list[FoundFile]:
        return find_files(MEMOS, self.roots)

    def consolidate(self, catalog: Catalog = ONE_KIND, *, reload: bool = False) -> Consolidation:
        return consolidate(
            self.instance,
            self.engine,
            self.settings,
            catalog,
            self.roots,
            self.files(),
            reload=Reload() if reload else None,
        )

    def observe(self) -> None:
        """Register, pin and observe the files, so that their chunks are partitions."""
        files = self.files()
        register_files(self.engine, files)
        pinned = pin_sources(
            self.engine, self.settings.pins_folder, MEMOS, "observed-by-a-test", self.roots, files
        )
        report_observed(self.instance, self.engine, MEMOS, pinned, self.settings.local_zone)

    def partitions(self, kind: str = KIND.name) -> list[str]:
        return list(
            self.instance.get_dynamic_partitions(chunks_name(MEMOS.names, MEMOS.kind(kind)))
        )

    def run(
        self,
        job: str,
        catalog: Catalog = MEMOS,
        *,
        partition_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        ops: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Run a job of the code location here; a failed step does not raise."""
        return _job(catalog, job).execute_in_process(
            instance=self.instance,
            partition_key=partition_key,
            tags=dict(tags or {}),
            raise_on_error=False,
            run_config={**QUIET, "ops": dict(ops or {})},
        )

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        with self.engine.connect() as conn:
            return [tuple(row) for row in conn.execute(sa.text(statement))]

    def execute(self, *statements: str) -> None:
        with self.engine.begin() as conn:
            for statement in statements:
                conn.execute(sa.text(statement))

    def ledger(self, table: str = SPEC.name) -> dict[str, str]:
        """Return the run that loaded each chunk of a table."""
        return {
            f"{source}/{chunk:03d}": run
            for source, chunk, run in self.rows(
                "select source, chunk, run_id from memos_ops.chunks "
                f"where table_name = '{table}' order by source, chunk"
            )
        }

    def tags_of(self, run_id: str) -> Mapping[str, str]:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.tags

    def jobs_of(self, done: Consolidation) -> list[str]:
        """Return the jobs of a consolidation's runs, in order."""
        found = []
        for run_id in done.run_ids:
            run = self.instance.get_run_by_id(run_id)
            assert run is not None
            found.append(run.job_name)
        return found
