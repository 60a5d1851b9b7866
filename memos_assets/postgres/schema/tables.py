"""The bookkeeping tables as SQLAlchemy metadata, and the schema that stands for another one.

Alembic compares a database with this; the revisions under sql/migrations are the history.
"""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from memos_assets.postgres import schemas

OPS_SCHEMA = schemas.OPS.name
#: `resolution` of a reject whose row stays out, by decision.
DROP: Final = "drop"


def schema_in(bind: sa.Connection | sa.Engine, schema: str) -> str:
    """Return the schema that stands for another one on this engine or connection.

    That is the schema itself, unless the engine was made by `in_schema`: then every statement on
    its consolidated tables goes elsewhere, and statements that are composed by hand must ask here.
    """
    translation = bind.get_execution_options().get("schema_translate_map") or {}
    return str(translation.get(schema, schema))


def in_schema(engine: sa.Engine, schema: str, version: str) -> sa.Engine:
    """Return an engine on the same pool for which ``version`` holds the tables of ``schema``."""
    return engine.execution_options(schema_translate_map={schema: version})


def new_metadata() -> sa.MetaData:
    """Return metadata without tables, with our names of constraints."""
    return sa.MetaData(
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "ck": "%(table_name)s_%(constraint_name)s",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
        }
    )


#: The bookkeeping tables, which all catalogs share.
metadata = new_metadata()


def _target() -> sa.Column[object]:
    return sa.Column(
        "target",
        sa.Text(),
        nullable=False,
        server_default="memos",
        comment="The schema that holds the rows: memos, or another version of it.",
    )


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


sources = sa.Table(
    "sources",
    metadata,
    sa.Column("source", sa.Text(), primary_key=True),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("path", sa.Text(), nullable=False),
    sa.Column("pin_digest", sa.Text(), comment="The pin that loads work from."),
    sa.Column("retired_to", sa.Text(), comment="Where the file lies since it was retired."),
    _moment("registered_at"),
    sa.Column(
        "is_demo",
        sa.Boolean(),
        nullable=False,
        server_default=sa.false(),
        comment="Of a folder that the demo wrote.",
    ),
    schema=OPS_SCHEMA,
    comment="Consolidated SQLite files by name.",
)

pins = sa.Table(
    "pins",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.Column("origin", sa.Text(), nullable=False),
    sa.Column("fingerprint", sa.Text(), nullable=False, comment="sha256 of the origin's bytes."),
    sa.Column("path", sa.Text(), nullable=False),
    sa.Column("chunk_rows", sa.BigInteger(), nullable=False),
    sa.Column("rows", pg.JSONB(), nullable=False, comment="SQLite table -> rows."),
    _moment("pinned_at"),
    sa.PrimaryKeyConstraint("source", "digest"),
    schema=OPS_SCHEMA,
    comment="Consistent copies of the files, and what they held.",
)

pin_chunks = sa.Table(
    "pin_chunks",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("pin_digest", sa.Text(), nullable=False),
    sa.Column("origin_table", sa.Text(), nullable=False),
    sa.Column("chunk", sa.Integer(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False),
    sa.Column("bytes", sa.BigInteger(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint("source", "pin_digest", "origin_table", "chunk"),
    sa.ForeignKeyConstraint(
        ["source", "pin_digest"],
        [f"{OPS_SCHEMA}.pins.source", f"{OPS_SCHEMA}.pins.digest"],
        ondelete="cascade",
    ),
    schema=OPS_SCHEMA,
    comment="Content of each chunk of a pin.",
)

accepted_counts = sa.Table(
    "accepted_counts",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("origin_table", sa.Text(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False),
    sa.Column("accepted_by", sa.Text(), nullable=False),
    _moment("accepted_at"),
    sa.PrimaryKeyConstraint("source", "origin_table"),
    schema=OPS_SCHEMA,
    comment="Counts of tables that lost most of their rows, until the next pin is taken.",
)

consolidation_pins = sa.Table(
    "consolidation_pins",
    metadata,
    sa.Column("consolidation", sa.Text(), nullable=False),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("pin_digest", sa.Text(), nullable=False),
    _moment("chosen_at"),
    sa.PrimaryKeyConstraint("consolidation", "source"),
    schema=OPS_SCHEMA,
    comment="Which pin all runs of one consolidation work from.",
)

chunks = sa.Table(
    "chunks",
    metadata,
    _target(),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("chunk", sa.Integer(), nullable=False),
    sa.Column("pin_digest", sa.Text(), nullable=False),
    sa.Column("chunk_rows", sa.BigInteger(), nullable=False),
    sa.Column("digest", sa.Text(), nullable=False, comment="sha256 of the chunk in SQLite."),
    sa.Column("source_rows", sa.BigInteger(), nullable=False),
    sa.Column("source_bytes", sa.BigInteger(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False, comment="Loaded, mirrored ones left out."),
    sa.Column("rejected", sa.BigInteger(), nullable=False),
    sa.Column("mirrored", sa.BigInteger(), nullable=False),
    sa.Column("without_embedding", pg.JSONB(), nullable=False, comment="Reason -> rows."),
    sa.Column(
        "repaired",
        pg.JSONB(),
        nullable=False,
        server_default="{}",
        comment="Rule -> rows that it changed; they are among the loaded ones.",
    ),
    sa.Column(
        "rules",
        pg.JSONB(),
        nullable=False,
        server_default="{}",
        comment="Reason -> rule, as decided when the chunk was loaded.",
    ),
    sa.Column("code_version", sa.Text(), nullable=False),
    sa.Column("run_id", sa.Text(), nullable=False),
    _moment("loaded_at"),
    sa.PrimaryKeyConstraint("target", "source", "table_name", "chunk"),
    sa.CheckConstraint("rows + rejected = source_rows", name="accounts_for_every_row"),
    schema=OPS_SCHEMA,
    comment="The ledger: one row per loaded chunk, committed with its rows.",
)

rejects = sa.Table(
    "rejects",
    metadata,
    _target(),
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("source_rowid", sa.BigInteger(), nullable=False),
    sa.Column("chunk", sa.Integer(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False, comment="Key values as a JSON array."),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("detail", sa.Text(), nullable=False),
    sa.Column("row_digest", sa.Text(), nullable=False, comment="sha256 of the row in SQLite."),
    sa.Column("columns", pg.ARRAY(sa.Text()), nullable=False, comment="SQLite columns of the row."),
    sa.Column(
        "row",
        sa.LargeBinary(),
        nullable=False,
        comment="Their values as stored, see consolidate.content.row_bytes.",
    ),
    sa.Column(
        "resolution",
        sa.Text(),
        comment="The rule that settled it; NULL while it is open. `drop`: the row stays out.",
    ),
    sa.Column("run_id", sa.Text(), nullable=False),
    _moment("rejected_at"),
    sa.PrimaryKeyConstraint("target", "source", "table_name", "source_rowid"),
    sa.CheckConstraint("encode(sha256(row), 'hex') = row_digest", name="row_is_whole"),
    schema=OPS_SCHEMA,
    comment="Rows that could not be loaded as they are, why, and what was decided.",
)

repairs = sa.Table(
    "repairs",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("reason", sa.Text(), nullable=False),
    sa.Column("rule", sa.Text(), nullable=False),
    sa.Column("decided_by", sa.Text(), nullable=False),
    _moment("decided_at"),
    sa.Column("note", sa.Text(), comment="Why, in the words of who decided."),
    sa.Column("rows", sa.BigInteger(), comment="How many rows were decided on."),
    sa.PrimaryKeyConstraint("source", "table_name", "reason"),
    schema=OPS_SCHEMA,
    comment="What people decided to do with rejects of a reason; loads and proofs follow it.",
)

accepted_losses = sa.Table(
    "accepted_losses",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("column_name", sa.Text(), nullable=False, comment="The embedding column."),
    sa.Column("reason", sa.Text(), nullable=False, comment="Why the embeddings are NULL."),
    sa.Column("rows", sa.BigInteger(), nullable=False, comment="How many were accepted."),
    sa.Column("decided_by", sa.Text(), nullable=False),
    _moment("decided_at"),
    sa.Column("note", sa.Text(), comment="Why, in the words of who decided."),
    sa.PrimaryKeyConstraint("source", "table_name", "column_name", "reason"),
    schema=OPS_SCHEMA,
    comment="NULL embeddings that people accepted, and how many of them.",
)

acknowledgements = sa.Table(
    "acknowledgements",
    metadata,
    sa.Column("source", sa.Text(), nullable=False),
    sa.Column("origin_table", sa.Text(), nullable=False),
    sa.Column("origin_column", sa.Text(), nullable=False, comment="Empty for the whole table."),
    sa.Column("acknowledged_by", sa.Text(), nullable=False),
    _moment("acknowledged_at"),
    sa.Column("reason", sa.Text(), nullable=False, comment="In the words of that person."),
    sa.PrimaryKeyConstraint("source", "origin_table", "origin_column"),
    schema=OPS_SCHEMA,
    comment="Tables and columns of files that people leave behind knowingly.",
)

evaluations = sa.Table(
    "evaluations",
    metadata,
    _target(),
    sa.Column("asset", sa.Text(), nullable=False, comment="As memos/embeddings."),
    sa.Column("claim", sa.Text(), nullable=False),
    sa.Column("passed", sa.Boolean(), nullable=False),
    sa.Column("severity", sa.Text(), nullable=False),
    sa.Column("expected", sa.Text(), nullable=False),
    sa.Column("observed", sa.Text(), nullable=False),
    sa.Column("evidence", pg.JSONB(), nullable=False),
    sa.Column("run_id", sa.Text(), nullable=False),
    sa.Column(
        "began_at",
        sa.DateTime(timezone=True),
        nullable=False,
        comment="What changed later was not read.",
    ),
    _moment("evaluated_at"),
    sa.PrimaryKeyConstraint("target", "asset", "claim"),
    schema=OPS_SCHEMA,
    comment="The latest evaluation of every claim of the checklist.",
)

application_tables = sa.Table(
    "application_tables",
    metadata,
    sa.Column("table_name", sa.Text(), primary_key=True),
    sa.Column("adopted", sa.Boolean(), nullable=False, comment="memOS made it; else we did."),
    sa.Column(
        "converted", pg.ARRAY(sa.Text()), nullable=False, comment="Columns that were json before."
    ),
    sa.Column(
        "indexes", pg.ARRAY(sa.Text()), nullable=False, comment="Its indexes, that of its key too."
    ),
    sa.Column("rows_when_adopted", sa.BigInteger(), nullable=False),
    sa.Column(
        "digest_when_adopted",
        sa.Text(),
        nullable=False,
        comment="Of all values of all rows, JSON as it was to become.",
    ),
    sa.Column("digest_after", sa.Text(), nullable=False, comment="The same, read after it."),
    sa.Column(
        "originals", sa.BigInteger(), nullable=False, comment="Kept in json_originals meanwhile."
    ),
    _moment("adopted_at"),
    schema=OPS_SCHEMA,
    comment="Tables of memOS in schema public: found and adopted, or created.",
)

json_originals = sa.Table(
    "json_originals",
    metadata,
    sa.Column("table_name", sa.Text(), nullable=False),
    sa.Column("column_name", sa.Text(), nullable=False),
    sa.Column("key", sa.Text(), nullable=False, comment="Of the row, as text."),
    sa.Column("original", sa.Text(), nullable=False, comment="The json as it was spelt."),
    sa.Column("converted", pg.JSONB(), nullable=False, comment="What it became."),
    sa.PrimaryKeyConstraint("table_name", "column_name", "key"),
    schema=OPS_SCHEMA,
    comment="JSON of memOS whose spelling jsonb does not keep; a downgrade gives it back.",
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("version", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("schema_name", sa.Text(), nullable=False, comment="Where its tables are, or were."),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("consolidation", sa.Text(), comment="The one that filled it."),
    sa.Column("schema_revision", sa.Text(), nullable=False),
    sa.Column("rows", sa.BigInteger(), nullable=False, server_default="0"),
    _moment("made_at"),
    sa.Column("swapped_in_at", sa.DateTime(timezone=True)),
    sa.Column("swapped_out_at", sa.DateTime(timezone=True)),
    sa.Column("dropped_at", sa.DateTime(timezone=True)),
    sa.CheckConstraint("state in ('shadow', 'live', 'previous', 'dropped')", name="known_state"),
    schema=OPS_SCHEMA,
    comment="Versions of the consolidated tables: the live one, former ones, a shadow.",
)

archived = sa.Table(
    "archived",
    metadata,
    sa.Column(
        "folder", sa.Text(), primary_key=True, comment="Of the file and its manifest, absolute."
    ),
    sa.Column("name", sa.Text(), nullable=False),
    sa.Column("kind", sa.Text(), nullable=False),
    sa.Column("is_source", sa.Boolean(), nullable=False),
    sa.Column("path", sa.Text(), nullable=False, comment="The original path."),
    sa.Column("sha256", sa.Text(), nullable=False, comment="Of the bytes of the file."),
    sa.Column(
        "manifest_digest",
        sa.Text(),
        nullable=False,
        comment="sha256 of the manifest without its state.",
    ),
    sa.Column(
        "state",
        sa.Text(),
        nullable=False,
        comment="As in the manifest; written before a move begins.",
    ),
    _moment("changed_at"),
    schema=OPS_SCHEMA,
    comment="Retired files, and files that are being moved.",
)

confirmations = sa.Table(
    "confirmations",
    metadata,
    sa.Column("number", sa.BigInteger(), sa.Identity(always=True), primary_key=True),
    sa.Column("key", sa.Text(), nullable=False, comment="What the next confirmation is made with."),
    sa.Column("action", sa.Text()),
    sa.Column("used_at", sa.DateTime(timezone=True), comment="NULL: of the next one."),
    schema=OPS_SCHEMA,
    comment="Confirmations of runs that move files; each is used once.",
)
