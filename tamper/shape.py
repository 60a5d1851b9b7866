"""Tampering with tables, functions, indexes and roles, the rows left as they are."""

from tamper.tampering import Tampering

_TRIGGER = (
    "create function public.other() returns trigger language plpgsql as "
    "'begin new.content := ''other''; return new; end'; "
)
_INDEX = "thought_templates_embedding_768_hnsw"
_COMMENT = (
    "do $$ declare kept text := obj_description('memos.{0}'::regclass); begin "
    "drop index memos.{0}; {1}; execute format('comment on index memos.{0} is %L', kept); end $$"
)


def _rebuilt(statement: str, index: str = _INDEX) -> str:
    return _COMMENT.format(index, f"create index {index} on memos.{statement}")


TABLES = (
    Tampering(
        "a time with its zone is one without",
        "alter table memos.corpora alter created_at type timestamp",
        ("V26",),
        "corpora",
    ),
    Tampering(
        "bigint is money",
        "alter table memos.domain_relations alter source_rowid type money using "
        "(source_rowid::numeric / 100)::money",
        ("V26",),
        "domain_relations",
    ),
    Tampering(
        "text is bytea",
        "alter table memos.domain_relations alter relation_type type bytea using "
        "convert_to(relation_type, 'UTF8')",
        ("V26",),
        "domain_relations",
    ),
    Tampering(
        "a column has another collation",
        'alter table memos.domain_relations alter domain type text collate "C"',
        ("V26",),
        "domain_relations",
    ),
    Tampering(
        "a column has a default",
        "alter table memos.embeddings alter content set default 'x'",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a column more",
        "alter table memos.embeddings add theirs text default 'x'",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "the words for search are a plain column and empty",
        "alter table memos.embeddings alter search_text drop expression; update memos.embeddings "
        "set search_text = ''",
        ("V26", "V02"),
        "embeddings",
    ),
    Tampering(
        "a trigger changes rows that are loaded later",
        _TRIGGER + "create trigger theirs before insert on memos.embeddings for each row execute "
        "function public.other()",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a rule throws inserts away",
        "create rule theirs as on insert to memos.embeddings do instead nothing",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "row security with a policy hides rows from others",
        "alter table memos.embeddings enable row level security; create policy theirs on "
        "memos.embeddings using (source <> 'mixed_precision_archive')",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a check is dropped",
        "alter table memos.embeddings drop constraint embeddings_embedding_or_reason",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a check is there and always true",
        "alter table memos.embeddings drop constraint embeddings_embedding_or_reason, add "
        "constraint embeddings_embedding_or_reason check (true)",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a column may be NULL",
        "alter table memos.embeddings alter chunk drop not null",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "the primary key is dropped",
        "alter table memos.embeddings drop constraint embeddings_pkey",
        ("V26", "V14"),
        "embeddings",
    ),
    Tampering(
        "the index of chunks is dropped",
        "drop index memos.embeddings_chunk_idx",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a unique index refuses rows",
        "create unique index theirs on memos.embeddings (source, source_rowid)",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "the table is unlogged",
        "alter table memos.embeddings set unlogged",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "the table has a child, whose rows are among its own",
        "create table public.child () inherits (memos.embeddings)",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "the table is a view",
        "alter table memos.corpora rename to kept; create view memos.corpora as select * from "
        "memos.kept",
        ("V26",),
        "corpora",
    ),
    Tampering(
        "the table is another role's",
        "create role tamper_stranger; alter table memos.embeddings owner to tamper_stranger",
        ("V26",),
        "embeddings",
    ),
    Tampering(
        "a constraint of the bookkeeping is not enforced",
        "alter table memos_ops.pin_chunks disable trigger all",
        ("V26",),
        "corpora",
    ),
    Tampering(
        "the numbers of versions are not generated",
        "alter table memos_ops.versions alter version drop identity",
        ("V26",),
        "corpora",
    ),
    Tampering(
        "an index of a user's own, not unique",
        "create index theirs on memos.embeddings (created_at)",
        table="embeddings",
        why="it refuses and hides no row; V26 lists it",
    ),
    Tampering(
        "a table of a user's own in our schema",
        "create table memos.theirs (id integer)",
        table="corpora",
        why="no check is about it; V26 lists it",
    ),
    Tampering(
        "the sequence of versions is set back",
        "select setval(pg_get_serial_sequence('memos_ops.versions', 'version'), 1)",
        table="corpora",
        why="the next version collides with a key and is refused; no number is reused",
    ),
    Tampering(
        "an event trigger of a user",
        "create function public.seen() returns event_trigger language plpgsql as 'begin end'; "
        "create event trigger theirs on ddl_command_end execute function public.seen()",
        table="corpora",
        why="hosted PostgreSQL has its own; what it does to a table of ours turns V26 red",
    ),
    Tampering(
        "the comment of a table is another",
        "comment on table memos.embeddings is 'theirs'",
        table="embeddings",
        why="words for people",
    ),
)

INDEXES = (
    Tampering(
        "a search index is dropped", f"drop index memos.{_INDEX}", ("V06",), "thought_templates"
    ),
    Tampering(
        "a search index is invalid",
        f"update pg_index set indisvalid = false where indexrelid = 'memos.{_INDEX}'::regclass",
        ("V06",),
        "thought_templates",
    ),
    Tampering(
        "a search index has another operator class, its mark kept",
        _rebuilt(
            "thought_templates using hnsw ((embedding::vector(768)) vector_l2_ops) where "
            "dimension = 768"
        ),
        ("V06",),
        "thought_templates",
    ),
    Tampering(
        "a search index has other rows, its mark kept",
        _rebuilt(
            "thought_templates using hnsw ((embedding::vector(768)) vector_cosine_ops) where "
            "dimension = 768 and chunk = 7"
        ),
        ("V06",),
        "thought_templates",
    ),
    Tampering(
        "a GIN index is on another column, its mark kept",
        _rebuilt(
            "embeddings using gin (search_text) where chunk = 7", "embeddings_search_text_gin"
        ),
        ("V06",),
        "embeddings",
    ),
    Tampering(
        "the mark of a search index is another",
        f"comment on index memos.{_INDEX} is 'theirs'",
        ("V06",),
        "thought_templates",
    ),
)

FUNCTIONS = (
    Tampering(
        "a search function is overloaded by a better match",
        "create function memos.search_embeddings(embedding text, k integer) returns text language "
        "sql as 'select null::text'",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "a search function does something else",
        "create or replace function memos.search_terms(query text) returns jsonb language sql "
        "immutable parallel safe as 'select null::jsonb'",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "a search function has another setting",
        "alter function memos.match_embeddings reset hnsw.ef_search",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "a search function runs with its owner's rights",
        "alter function memos.search_terms(text) security definer",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "a search function is gone",
        "drop function memos.match_embeddings",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "the function behind the words for search is another",
        "create or replace function memos.search_codes(value text) returns text[] language sql "
        "immutable parallel safe as 'select null::text[]'",
        ("V15",),
        "corpora",
    ),
    Tampering(
        "the mark of a search function is another",
        "comment on function memos.search_terms(text) is 'theirs'",
        table="corpora",
        why="definitions are compared; the mark only says which functions an update may drop",
    ),
)
