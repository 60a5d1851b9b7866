"""What a demo folder holds: files, tables, rows, and how many rows carry each known defect."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from memos_assets.catalog.folder_markers import DEMO_MANIFEST


@dataclass(frozen=True, slots=True)
class TableManifest:
    """One table: its rows, and per known defect how many of them carry it.

    Defects overlap (a row may have NaN in its metadata and a zero vector), so their sum may exceed
    ``rows``; within one column the vector, JSON, text and timestamp defects are disjoint.
    """

    rows: int
    defects: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FileManifest:
    """One SQLite file: its path below the folder with ``/``, its size, and its tables by name."""

    path: str
    bytes: int
    tables: Mapping[str, TableManifest]

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    @property
    def defects(self) -> dict[str, int]:
        """Rows per known defect, over all tables."""
        total: Counter[str] = Counter()
        for table in self.tables.values():
            total.update(table.defects)
        return dict(sorted(total.items()))


@dataclass(frozen=True, slots=True)
class DemoManifest:
    """The whole folder, and the three values it is a function of."""

    scale: str
    seed: int
    factor: float
    files: tuple[FileManifest, ...]

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(file.rows for file in self.files)

    @property
    def bytes(self) -> int:
        """Bytes of all files, without this manifest."""
        return sum(file.bytes for file in self.files)

    @property
    def defects(self) -> dict[str, int]:
        """Rows per known defect, over all files."""
        total: Counter[str] = Counter()
        for file in self.files:
            total.update(file.defects)
        return dict(sorted(total.items()))

    def file(self, path: str) -> FileManifest:
        """Return the file at ``path`` below the folder; KeyError if there is none."""
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)

    def to_json(self) -> str:
        """Return what ``demo_manifest.json`` holds."""
        return json.dumps(asdict(self), indent=2) + "\n"


def read_manifest(directory: Path) -> DemoManifest:
    """Read the manifest that ``write_demo`` left in ``directory``."""
    written = json.loads((directory / DEMO_MANIFEST).read_text(encoding="utf-8"))
    return DemoManifest(
        scale=written["scale"],
        seed=written["seed"],
        factor=written["factor"],
        files=tuple(
            FileManifest(
                path=file["path"],
                bytes=file["bytes"],
                tables={
                    name: TableManifest(rows=table["rows"], defects=table["defects"])
                    for name, table in file["tables"].items()
                },
            )
            for file in written["files"]
        ),
    )
