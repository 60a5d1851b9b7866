"""The code location of another team: it imports one module of ours, and reads snapshots."""

import json
import os
from pathlib import Path

import dagster as dg
import pyarrow as pa

from memos_assets.defs.snapshots import MEMORY, SnapshotIOManager, snapshot_spec


@dg.asset(
    key=["ours", "degrees"],
    ins={
        "links": dg.AssetIn(MEMORY, metadata={"table": "agent.links", "columns": ["weight", "a"]})
    },
)
def degrees(links: pa.Table) -> None:
    """Count the links of the newest snapshot."""
    mean = sum(links.column("weight").to_pylist()) / links.num_rows
    found = {"links": links.num_rows, "weight": round(mean, 6)}
    Path(os.environ["DEGREES"]).write_text(json.dumps(found), "utf-8")


defs = dg.Definitions(
    assets=[degrees, snapshot_spec()], resources={"snapshots": SnapshotIOManager()}
)
