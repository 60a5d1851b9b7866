"""V26: whatever is changed on a table of ours is named, and nothing that is right is."""

import pytest
import sqlalchemy as sa

from memos_assets.catalog import MEMOS
from memos_assets.finding import Finding
from memos_assets.postgres.schema.tables import in_schema
from memos_assets.postgres.versions.versions import create_shadow
from memos_assets.proof.shape.checks import bookkeeping_shape, consolidated_shape

TRIGGER = (
    "create function public.other() returns trigger language plpgsql as "
    "'begin new.content := ''other''; return new; end'; create trigger theirs before insert on "
    "memos.embeddings for each row execute function public.other()"
)
#: Statement -> the fault that the table's finding names.
TAMPERED = {
    "alter table memos.embeddings alter created_at type timestamp": (
        "column created_at is timestamp without time zone, not timestamp with time zone"
    ),
    "alter table memos.corpus_documents alter source_rowid type money using source_rowid::money": (
        "column source_rowid is money not null, not bigint not null"
    ),
    "alter table memos.corpus_relations alter relation_type type bytea using ''::bytea": (
        "column relation_type is bytea, not text"
    ),
    "alter table memos.embeddings alter dimension type bigint": (
        "column dimension is bigint, not integer"
    ),
    "alter table memos.embeddings alter embedding type public.vector(768)": (
        "column embedding is public.vector(768), not public.halfvec"
    ),
    'alter table memos.corpora alter domain_id type text collate "C"': (
        'column domain_id is text collate pg_catalog."C" not null, not text not null'
    ),
    "alter table memos.embeddings alter chunk set default 0": (
        "column chunk is integer not null default 0, not integer not null"
    ),
    "alter table memos.embeddings alter content set default 'x'": (
        "column content is text default 'x'::text, not text"
    ),
    "alter table memos.embeddings add column theirs text": ("column theirs is not described: text"),
    "alter table memos.embeddings drop column metadata": "column metadata is missing",
    "alter table memos.embeddings rename column content to contents": "column content is missing",
    "alter table memos.embeddings alter chunk drop not null": (
        "column chunk is integer, not integer not null"
    ),
    "alter table memos.embeddings alter content set not null": (
        "column content is text not null, not text"
    ),
    "alter table memos.embeddings alter search_text drop expression": (
        "column search_text is tsvector, not tsvector generated as "
        "memos.search_document(content, 100000)"
    ),
    "alter table memos.embeddings drop constraint embeddings_embedding_or_reason": (
        "constraint embeddings_embedding_or_reason is missing"
    ),
    "alter table memos.embeddings drop constraint embeddings_embedding_or_reason, add constraint "
    "embeddings_embedding_or_reason check (true)": (
        "constraint embeddings_embedding_or_reason is CHECK (true), not CHECK"
    ),
    "alter table memos.embeddings drop constraint embeddings_embedding_or_reason, add constraint "
    "embeddings_embedding_or_reason check ((embedding is null) = (embedding_reason is not null)) "
    "not valid": "NOT VALID",
    "alter table memos.embeddings add check (chunk < 5)": (
        "constraint embeddings_chunk_check is not described: CHECK ((chunk < 5))"
    ),
    "alter table memos.embeddings drop constraint embeddings_pkey": (
        "constraint embeddings_pkey is missing"
    ),
    "drop index memos.embeddings_chunk_idx": "index embeddings_chunk_idx is missing",
    "drop index memos.embeddings_chunk_idx; create index embeddings_chunk_idx on memos.embeddings "
    "(source_rowid)": "btree (source_rowid), not CREATE INDEX",
    "update pg_index set indisvalid = false where indexrelid = "
    "'memos.embeddings_chunk_idx'::regclass": "(invalid)",
    "create unique index theirs on memos.embeddings (source_rowid, source)": (
        "index theirs is not described: CREATE UNIQUE INDEX theirs"
    ),
    TRIGGER: "trigger theirs is not described: CREATE TRIGGER theirs BEFORE INSERT",
    TRIGGER + "; alter table memos.embeddings disable trigger theirs": "(disabled)",
    "create rule theirs as on insert to memos.embeddings do instead nothing": (
        "rule theirs is not described"
    ),
    "create policy theirs on memos.embeddings using (false)": "policy theirs is not described",
    "alter table memos.embeddings enable row level security": "row security is on, not off",
    "alter table memos.embeddings force row level security": "row security is off, forced",
    "alter table memos.embeddings set unlogged": "table is table unlogged, not table logged",
    "create table public.child () inherits (memos.embeddings)": "child public.child",
    "create table public.parent (source text not null); alter table memos.embeddings "
    "inherit public.parent": "parent public.parent",
    "create role stranger; alter table memos.embeddings owner to stranger": "owner is stranger",
    "drop table memos.embeddings": "table is missing",
    "alter table memos.embeddings rename to rows; create view memos.embeddings as select * from "
    "memos.rows": "table is view logged, not table logged",
}
#: What a user may do beside our tables, or to their speed: nothing is wrong with it.
HARMLESS = (
    "create index theirs on memos.embeddings (created_at)",
    "create view public.theirs as select doc_id from memos.embeddings",
    (
        "create table public.theirs (source text, doc_id text, foreign key (source, doc_id) "
        "references memos.embeddings)"
    ),
    "alter table memos.embeddings set (fillfactor = 90, autovacuum_enabled = off)",
    "alter table memos.embeddings alter content set statistics 500, alter content set storage main",
    "create role reader; grant select on memos.embeddings to reader",
    "comment on table memos.embeddings is 'theirs'",
    "create table memos.theirs (id integer)",
    "create statistics memos.theirs on source, chunk from memos.embeddings",
    "cluster memos.embeddings using embeddings_chunk_idx",
)
#: The same for the bookkeeping tables.
BOOKKEEPING = {
    "alter table memos_ops.chunks alter loaded_at type timestamp": "column loaded_at is timestamp",
    "alter table memos_ops.chunks drop constraint chunks_accounts_for_every_row": (
        "constraint chunks_accounts_for_every_row is missing"
    ),
    "alter table memos_ops.rejects alter resolution set default 'drop'": (
        "column resolution is text default 'drop'::text, not text"
    ),
    "alter table memos_ops.pin_chunks disable trigger all": (
        "constraint pin_chunks_source_fkey, as it is enforced is D, not O"
    ),
    "alter table memos_ops.versions alter version drop identity": (
        "column version is bigint not null, not bigint not null generated always as identity"
    ),
    "create rule theirs as on update to memos_ops.evaluations do instead nothing": (
        "rule theirs is not described"
    ),
}


def tampered(engine: sa.Engine, statement: str, table: str = "embeddings") -> tuple[Finding, ...]:
    """Judge a consolidated table and the bookkeeping after a statement that is taken back."""
    with engine.connect() as conn, conn.begin() as transaction:
        conn.exec_driver_sql(statement)
        findings = (
            consolidated_shape(conn, MEMOS, MEMOS.table(table)),
            bookkeeping_shape(conn, MEMOS),
        )
        transaction.rollback()
    return findings


def table_in(statement: str) -> str:
    name = statement.partition("memos.")[2].split()[0].partition("_chunk_idx")[0].rstrip(";'")
    return name if name in {spec.name for spec in MEMOS.tables} else "embeddings"


def test_tables_of_this_checkout_have_their_shape_and_so_has_a_shadow(engine: sa.Engine) -> None:
    with engine.connect() as conn:
        bookkeeping = bookkeeping_shape(conn, MEMOS)
        shapes = {spec.name: consolidated_shape(conn, MEMOS, spec) for spec in MEMOS.tables}
    assert bookkeeping.passed, bookkeeping.evidence
    assert [name for name, finding in shapes.items() if not finding.passed] == []
    create_shadow(engine, MEMOS, "tests")
    with in_schema(engine, MEMOS.schema, MEMOS.shadow).connect() as conn:
        spec = MEMOS.table("embeddings")
        assert consolidated_shape(conn, MEMOS, spec).passed
        conn.exec_driver_sql("drop index memos_shadow.embeddings_chunk_idx")
        assert not consolidated_shape(conn, MEMOS, spec).passed


@pytest.mark.parametrize(("statement", "fault"), TAMPERED.items())
def test_v26_shape_is_that_of_the_catalog_fails_when(
    shared_engine: sa.Engine, statement: str, fault: str
) -> None:
    finding, bookkeeping = tampered(shared_engine, statement, table_in(statement))
    assert not finding.passed
    named = " ".join(finding.evidence["faults"])
    assert fault in named
    assert named.startswith(table_in(statement))
    assert finding.observed
    assert bookkeeping.passed


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_users_do_beside_our_tables_is_not_wrong(
    shared_engine: sa.Engine, statement: str
) -> None:
    finding, bookkeeping = tampered(shared_engine, statement)
    assert (finding.passed, bookkeeping.passed) == (True, True), finding.evidence
    if statement.startswith("create index"):
        assert finding.evidence["further_indexes"] == ["theirs"]
    if statement.startswith("create table memos.theirs"):
        assert bookkeeping.evidence["of_others"] == ["theirs"]


@pytest.mark.parametrize(("statement", "fault"), BOOKKEEPING.items())
def test_v26_shape_is_that_of_the_catalog_fails_when_a_bookkeeping_table(
    shared_engine: sa.Engine, statement: str, fault: str
) -> None:
    finding, bookkeeping = tampered(shared_engine, statement)
    assert finding.passed
    assert not bookkeeping.passed
    assert fault in " ".join(bookkeeping.evidence["faults"])


def test_the_shape_is_judged_where_the_extension_is_in_a_schema_of_its_own(
    engine: sa.Engine,
) -> None:
    with engine.begin() as conn:
        conn.exec_driver_sql(
            "create schema extensions; alter extension vector set schema extensions"
        )
    engine.dispose()  # a connection finds out where the extension is when it is made
    finding, bookkeeping = tampered(engine, "select 1")
    assert (finding.passed, bookkeeping.passed) == (True, True), finding.evidence
