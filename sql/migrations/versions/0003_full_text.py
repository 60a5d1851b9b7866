"""full text: what a search reads of each table, as a generated column.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DATA = "memos"

# Codes such as SRVO-062 or A06B-6290-H104 are one lexeme each, beside what the parser makes of them
# (for the first, `srvo` and the number -62).
CODES = r"[A-Za-z0-9]+(?:[-_.][A-Za-z0-9]+)+"
FUNCTIONS = (
    rf"""
    create function memos.search_codes(value text) returns text[]
    language sql immutable parallel safe as $body$
        select coalesce(pg_catalog.array_agg(code), '{{}}') from (
            select distinct pg_catalog.lower(found[1] collate "C") as code
            from pg_catalog.regexp_matches(value, '{CODES}', 'g') as found
            where pg_catalog.length(found[1]) <= 100 and found[1] ~ '[0-9]'
            limit 1000
        ) codes
    $body$
    """,
    """
    create function memos.search_document(value text, most integer) returns tsvector
    language sql immutable parallel safe as $body$
        select pg_catalog.to_tsvector(
                'pg_catalog.english', pg_catalog.left(coalesce(value, ''), most)
            ) operator(pg_catalog.||) pg_catalog.array_to_tsvector(
                memos.search_codes(pg_catalog.left(coalesce(value, ''), most))
            )
    $body$
    """,
)
TEXTS = {
    "embeddings": ("content",),
    "hybrid_documents": ("content",),
    "domain_embeddings": ("entity_name", "context"),
    "hyperbolic_documents": ("content",),
    "corpus_entities": ("name", "aliases", "description"),
    "corpus_documents": ("title", "content"),
    "corpus_chunks": ("content",),
    "thought_templates": ("query_pattern",),
    "semantic_memories": ("content",),
}


def _expression(texts: tuple[str, ...]) -> str:
    parts = []
    for weight, name in zip("ABCD", texts, strict=False):
        most = 100_000 if name == texts[-1] else 10_000
        text = "(aliases)::text" if name == "aliases" else name
        part = f"memos.search_document({text}, {most})"
        parts.append(part if len(texts) == 1 else f"setweight({part}, '{weight}')")
    return " || ".join(parts)


def upgrade() -> None:
    for function in FUNCTIONS:
        op.execute(sa.text(function.replace(":", r"\:")))
    for table, texts in TEXTS.items():
        op.add_column(
            table,
            sa.Column(
                "search_text",
                postgresql.TSVECTOR(),
                sa.Computed(_expression(texts), persisted=True),
                comment="Words and codes of: " + ", ".join(texts) + ".",
            ),
            schema=DATA,
        )


def downgrade() -> None:
    for table in TEXTS:
        op.drop_column(table, "search_text", schema=DATA)
    # Other versions of the tables keep what was generated so far.
    op.execute(
        """
        do $body$ declare held record; begin
            for held in
                select distinct a.attrelid::regclass as relation, a.attname from pg_attribute a
                join pg_attrdef f on f.adrelid = a.attrelid and f.adnum = a.attnum
                join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid
                where d.refobjid = 'memos.search_document(text, integer)'::regprocedure
            loop
                execute format(
                    'alter table %s alter column %I drop expression', held.relation, held.attname
                );
            end loop;
        end $body$
        """
    )
    op.execute("drop function memos.search_document, memos.search_codes")
