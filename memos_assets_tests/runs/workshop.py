"""The catalog of a made-up application, and files as it would write them."""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from memos_assets.asset_names import AssetNames
from memos_assets.catalog import Catalog, Column, FileKind, Link, TableSpec
from memos_assets.catalog.columns import float32_embedding

DIMENSION = 768
#: Name -> title and body.
NOTES: Mapping[str, tuple[str, str]] = {
    f"note-{number}": (f"Machine {number}", f"Bearing {number} of the lathe is worn.")
    for number in range(1, 41)
}

WORKSHOP = Catalog(
    kinds=(
        FileKind(
            name="workshop_notes",
            signature={"notes": frozenset({"id", "body", "embedding"})},
            disposition="consolidate",
            about="Notes of a workshop, and the machines that they are about.",
            usual_names=("workshop.db",),
            tables=(
                TableSpec(
                    name="notes",
                    origin="notes",
                    key=("id",),
                    columns=(
                        Column("id", "text", "id", nullable=False),
                        Column("title", "text", "title"),
                        Column("body", "text", "body"),
                        Column("tags", "json", "tags", searched="containment"),
                    ),
                    vectors=(
                        float32_embedding("embedding", "Raw.", models={DIMENSION: ("made-up",)}),
                    ),
                    texts=("title", "body"),
                    details="tags",
                    about="Notes.",
                ),
                TableSpec(
                    name="machines",
                    origin="machines",
                    key=("id",),
                    columns=(
                        Column("id", "text", "id", nullable=False),
                        Column("note_id", "text", "note_id"),
                    ),
                    links=(Link("note_id", "notes", "id"),),
                    about="Machines, each with its note.",
                ),
            ),
        ),
    ),
    schema="workshop",
    names=AssetNames.under("workshop"),
)


def vector_of(name: str) -> npt.NDArray[np.float32]:
    """Return the embedding of a note, of shape (768,)."""
    seed = int(name.rpartition("-")[2])
    return np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)


def write_notes(path: Path) -> None:
    """Write a file with every note, and two machines: the note of one of them is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "create table notes (id text primary key, title text, body text, tags text, "
            "embedding blob)"
        )
        connection.execute("create table machines (id text primary key, note_id text)")
        connection.executemany(
            "insert into notes values (?, ?, ?, ?, ?)",
            [
                (name, title, body, json.dumps({"hall": len(name)}), vector_of(name).tobytes())
                for name, (title, body) in NOTES.items()
            ],
        )
        connection.executemany(
            "insert into machines values (?, ?)", [("lathe", "note-1"), ("mill", "note-99")]
        )
