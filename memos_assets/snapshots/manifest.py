"""The manifest of a snapshot: what it holds, and its identity.

The id is a digest of the logical content: of each table its name, columns with their types, key,
number of rows and digest of the rows. Whatever else a manifest says (when, by whom, in which files)
is not part of it, so the same rows have one id on every server and with every writer of Parquet.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, NonNegativeInt, StringConstraints, TypeAdapter, ValidationError
from pydantic import dataclasses as pydantic_dataclasses

from memos_assets.errors import SnapshotError

FORMAT: Final = "memos-snapshot-1"
_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^/\x00]+$")]
_When = Annotated[
    str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)$")
]
_STRICT: Final = ConfigDict(strict=True, extra="forbid")


@pydantic_dataclasses.dataclass(frozen=True, slots=True, config=_STRICT)
class TableEntry:
    """One table of a snapshot.

    Attributes:
        schema, name: of the table.
        columns: name and PostgreSQL type of each, in the order of the table.
        key: columns by which the rows are ordered.
        rows: how many.
        digest: of the rows, see `identity`.
        bytes: of the file, which is at ``file``.
        sha256: of the file's bytes; another writer of Parquet makes others of the same rows.
    """

    schema: _Name
    name: _Name
    columns: Sequence[tuple[str, str]]
    key: Sequence[str]
    rows: NonNegativeInt
    digest: _Digest
    bytes: NonNegativeInt
    sha256: _Digest

    @property
    def qualified(self) -> str:
        """Schema and name."""
        return f"{self.schema}.{self.name}"

    @property
    def identity(self) -> str:
        """Digest of the logical content: columns with their types, key, and rows."""
        content = {"columns": [list(one) for one in self.columns], "key": list(self.key)}
        return _digest({**content, "rows": self.rows, "digest": self.digest})

    @property
    def file(self) -> str:
        """Path within the store."""
        return f"tables/{self.qualified}/{self.identity}.parquet"


@pydantic_dataclasses.dataclass(frozen=True, slots=True, config=_STRICT)
class Moment:
    """A moment at which the rows were those of a snapshot.

    Attributes:
        made_at: ISO 8601, UTC.
        partition: of the asset, when a partition was written.
        run: id of the Dagster run; None: outside one.
        database: whose rows they were, see `Manifest.database`; None: of the manifest's.
    """

    made_at: _When
    partition: _Name | None = None
    run: str | None = None
    database: str | None = None


@pydantic_dataclasses.dataclass(frozen=True, config=_STRICT)
class Manifest:
    """What a snapshot holds.

    Attributes:
        tables: by schema and name.
        left_out: table -> its class and why, see `coverage`.
        made_at: ISO 8601, UTC: the moment that the rows are of.
        revision: of the schema, as Alembic names it.
        models: name of an embedding model -> digest of its answers.
        database: whose rows these were at first, see `database_identity`.
        parent: id of the snapshot before it; None: the first one.
        label: given by people; a labelled snapshot is kept.
        partition: of the asset, when a partition was written.
        run: id of the Dagster run; None: outside one.
        versions: of the code, PostgreSQL, pgvector and pyarrow.
        again: later moments of the same rows, the newest last.
        format: of this manifest and of the files.
    """

    tables: Sequence[TableEntry]
    made_at: _When
    revision: str
    database: str
    left_out: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    parent: _Digest | None = None
    label: _Name | None = None
    partition: _Name | None = None
    run: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    again: Sequence[Moment] = field(default_factory=list)
    format: Literal["memos-snapshot-1"] = FORMAT

    @cached_property
    def id(self) -> str:
        """Digest of the logical content of all tables."""
        return _digest({entry.qualified: entry.identity for entry in self.tables})

    @property
    def moments(self) -> list[Moment]:
        """Every moment at which the rows were these, the newest last."""
        return [Moment(self.made_at, self.partition, self.run, self.database), *self.again]

    @property
    def databases(self) -> frozenset[str]:
        """Those whose rows were these: a store may be shared, and equal rows have one id."""
        return frozenset({one.database or self.database for one in self.moments})

    @property
    def latest(self) -> Moment:
        """The newest moment."""
        return self.moments[-1]

    def seen_again(self, moment: Moment, *, label: str | None = None) -> Self:
        """Return the manifest with one more moment.

        Args:
            moment: at which the rows were the same.
            label: that is given now; the one that is there stays if it is None.
        """
        return replace(self, again=[*self.again, moment], label=label or self.label)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(entry.rows for entry in self.tables)

    def entry(self, qualified: str) -> TableEntry | None:
        """Return a table by schema and name."""
        return next((entry for entry in self.tables if entry.qualified == qualified), None)

    def to_json(self) -> str:
        """Return it as it is written."""
        facts: dict[str, Any] = _FORM.dump_python(self, mode="json")
        for entry, table in zip(self.tables, facts["tables"], strict=True):
            # For readers without us; it follows from the rest.
            table["file"] = entry.file
        return json.dumps({"id": self.id, **facts}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, *, where: str) -> Self:
        """Return a manifest that was read, if its id is the one of its content.

        Args:
            text: that was read.
            where: it was read, for people.

        Raises:
            SnapshotError: M800 it is not a manifest of this format; M801 it was edited.
        """
        try:
            facts = json.loads(text)
            said = facts.pop("id")
            files = [table.pop("file") for table in facts["tables"]]
            manifest = _FORM.validate_json(json.dumps(facts))
        except (ValueError, KeyError, AttributeError, TypeError, ValidationError) as error:
            raise SnapshotError(
                "M800",
                "this is not a manifest of a snapshot in a format that this version reads",
                where=where,
                fix="restore the file from a copy of the store, or delete it with its snapshot; "
                "a newer format needs a newer memos-assets",
            ) from error
        if manifest.id != said or files != [entry.file for entry in manifest.tables]:
            raise SnapshotError(
                "M801",
                "the manifest was edited: its id is not the one of its content",
                where=where,
                fix="restore the file from a copy of the store",
            )
        assert isinstance(manifest, cls)
        return manifest


_FORM: Final = TypeAdapter(Manifest)


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What is left of a snapshot whose rows of an erased user were taken out.

    Attributes:
        id: of the snapshot that was.
        into: id of the one in its place.
        at: ISO 8601, UTC.
    """

    id: str
    into: str
    at: str
