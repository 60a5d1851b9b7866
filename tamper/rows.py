"""Tampering with rows, rejects and links."""

from tamper.tampering import Tampering

_ONE = "source_rowid = (select min(source_rowid) from memos.{} where {})"


def _where(table: str, condition: str = "true") -> str:
    return _ONE.format(table, condition)


def _enlarged(table: str, column: str, condition: str) -> str:
    """Enlarge the first element of one embedding."""
    return (
        f"update memos.{table} set {column} = ('[' || "
        f"(case when ({column}::real[])[1] = 0 then 1e-7 else ({column}::real[])[1] * 1.001 end)"
        f" || substr({column}::text, strpos({column}::text, ',')))::vector "
        f"where {_where(table, condition)}"
    )


_LINK = (
    "insert into memos.semantic_links (source, from_id, to_id, connection_type, strength, "
    "bidirectional, metadata, reversed, chunk, source_rowid) "
    "select source, {ends}, connection_type, strength, {flag}, metadata, true, chunk, source_rowid "
    "from memos.semantic_links f where not reversed and {which} limit 1"
)

ROWS = (
    Tampering(
        "a row is deleted",
        f"delete from memos.embeddings where {_where('embeddings')}",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "a row is added",
        "insert into memos.embeddings (source, doc_id, embedding_reason, chunk, source_rowid) "
        "select source, 'added', 'missing', chunk, 999999 from memos.embeddings limit 1",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "a row is there twice, under another key",
        "create temp table t as select * from memos.corpus_entities limit 1; alter table t drop "
        "column search_text; update t set id = id || ' '; "
        "insert into memos.corpus_entities select * from t",
        ("V01",),
        "corpus_entities",
    ),
    Tampering(
        "rows are of a source that is not registered",
        "update memos.corpus_relations set source = 'elsewhere' where source = 'imm_robotics'",
        ("V01",),
        "corpus_relations",
    ),
    Tampering(
        "a row names another row of its file",
        "update memos.corpus_entities set source_rowid = source_rowid + 100000 where "
        + _where("corpus_entities"),
        ("V01",),
        "corpus_entities",
    ),
    Tampering(
        "two rows of one file are exchanged",
        "update memos.domain_embeddings d set source_rowid = o.source_rowid, chunk = o.chunk from "
        "memos.domain_embeddings o where (d.source_rowid, o.source_rowid) in (select x.a, x.b from "
        "(select min(source_rowid) as low, max(source_rowid) as high from memos.domain_embeddings)"
        " e, lateral (values (low, high), (high, low)) x(a, b))",
        ("V02",),
        "domain_embeddings",
    ),
    Tampering(
        "two rows of different files are exchanged",
        "update memos.corpora set source = case source when 'imm_robotics' then 'raspberry_pi' "
        "else 'imm_robotics' end where source in ('imm_robotics', 'raspberry_pi')",
        ("V02",),
        "corpora",
    ),
    Tampering(
        "two rows of different files are exchanged, with keys and texts, under their own rowids",
        "create temp table t as select e.* from memos.corpus_documents e join (select source, "
        "min(source_rowid) as r from memos.corpus_documents where source in ('imm_robotics', "
        "'raspberry_pi') group by 1) m on m.source = e.source and m.r = e.source_rowid; "
        "alter table t drop column search_text; delete from memos.corpus_documents d using t where "
        "d.source = t.source and d.source_rowid = t.source_rowid; update t set (source, chunk, "
        "source_rowid) = (select o.source, o.chunk, o.source_rowid from t o where o.source <> "
        "t.source); insert into memos.corpus_documents select * from t",
        ("V02",),
        "corpus_documents",
    ),
    Tampering(
        "a text loses a blank at its end",
        "update memos.corpus_documents set content = content || ' ' where "
        + _where("corpus_documents"),
        ("V02",),
        "corpus_documents",
    ),
    Tampering(
        "a text is in another normal form of Unicode",
        "update memos.corpus_documents set content = normalize(content || chr(233), NFD) where "
        + _where("corpus_documents"),
        ("V02",),
        "corpus_documents",
    ),
    Tampering(
        "a text is NULL that was empty, or was there",
        "update memos.corpus_documents set title = case title when '' then null else '' end where "
        + _where("corpus_documents"),
        ("V02",),
        "corpus_documents",
    ),
    Tampering(
        "a number is one more",
        "update memos.corpus_chunks set chunk_index = 1; update memos.semantic_memories set "
        "access_count = access_count + 1 where " + _where("semantic_memories"),
        ("V02",),
        "semantic_memories",
    ),
    Tampering(
        "a number differs in its last bit",
        "update memos.semantic_links set strength = strength * (1 + 2.3e-16) where not reversed "
        "and " + _where("semantic_links", "strength > 0"),
        ("V02", "V05"),
        "semantic_links",
    ),
    Tampering(
        "a time is a microsecond later",
        "update memos.corpus_entities set first_seen = first_seen + interval '1 microsecond' where "
        + _where("corpus_entities", "first_seen is not null"),
        ("V02",),
        "corpus_entities",
    ),
    Tampering(
        "a boolean is another",
        "update memos.semantic_links set bidirectional = not bidirectional where "
        + _where("semantic_links"),
        ("V02", "V05"),
        "semantic_links",
    ),
    Tampering(
        "a JSON value is another",
        "update memos.embeddings set metadata = metadata || '{\"added\": null}' where "
        + _where("embeddings", "jsonb_typeof(metadata) = 'object'"),
        ("V02",),
        "embeddings",
    ),
    Tampering(
        "a JSON number differs in its 17th digit",
        "update memos.hybrid_documents set sparse_weights = (select jsonb_object_agg(key, case "
        "when n = 1 then to_jsonb(value::numeric + 1e-17) else to_jsonb(value::numeric) end) from "
        "(select key, value, row_number() over () as n from jsonb_each_text(sparse_weights)) s) "
        "where " + _where("hybrid_documents", "sparse_weights <> '{}'"),
        ("V02",),
        "hybrid_documents",
    ),
    Tampering(
        "a JSON number is a JSON text",
        "update memos.hybrid_documents set sparse_weights = (select jsonb_object_agg(key, value) "
        "from jsonb_each_text(sparse_weights)) where "
        + _where("hybrid_documents", "sparse_weights <> '{}'"),
        ("V02",),
        "hybrid_documents",
    ),
    Tampering(
        "one element of a vector is a thousandth larger",
        _enlarged("thought_templates", "embedding", "embedding is not null"),
        ("V02",),
        "thought_templates",
    ),
    Tampering(
        "two embeddings are exchanged",
        "update memos.semantic_memories d set embedding = o.embedding from memos.semantic_memories "
        "o where d.dimension = o.dimension and d.source_rowid <> o.source_rowid and "
        "d.source_rowid = (select min(source_rowid) from memos.semantic_memories where dimension = "
        "1024)",
        ("V02",),
        "semantic_memories",
    ),
    Tampering(
        "an embedding is NULL with a reason",
        "update memos.thought_templates set embedding = null, embedding_reason = 'zero' where "
        + _where("thought_templates", "embedding is not null"),
        ("V02", "V04"),
        "thought_templates",
    ),
    Tampering(
        "the reason of a NULL is another",
        "update memos.embeddings set embedding_reason = 'invented' where embedding_reason is not "
        "null",
        ("V02",),
        "embeddings",
    ),
    Tampering(
        "the words for search are emptied, the column generated again",
        "create or replace function memos.search_document(value text, most integer) returns "
        "tsvector language sql immutable parallel safe as 'select null::tsvector'; update "
        "memos.corpus_documents set content = content; "
        "{search_document}",
        ("V02",),
        "corpus_documents",
    ),
)

LINKS = (
    Tampering(
        "an extra reversed link that goes one way",
        _LINK.format(ends="from_id, from_id", flag="false", which="true"),
        ("V05",),
        "semantic_links",
    ),
    Tampering(
        "an extra reversed link that goes both ways",
        _LINK.format(
            ends="from_id, to_id",
            flag="true",
            which="bidirectional and not exists (select from memos.semantic_links o where "
            "o.reversed and o.from_id = f.from_id and o.to_id = f.to_id)",
        ),
        ("V05",),
        "semantic_links",
    ),
    Tampering(
        "an extra reversed link without a flag",
        _LINK.format(ends="from_id, from_id", flag="null", which="true"),
        ("V05",),
        "semantic_links",
    ),
    Tampering(
        "an extra link from a row to itself, reversed",
        _LINK.format(ends="from_id, from_id", flag="true", which="true"),
        ("V05",),
        "semantic_links",
    ),
    Tampering(
        "a reversed link is there twice, the key dropped",
        "alter table memos.semantic_links drop constraint semantic_links_pkey; insert into "
        "memos.semantic_links select * from memos.semantic_links where reversed limit 1",
        ("V27",),
        "semantic_links",
    ),
    Tampering(
        "a reversed link is gone",
        "delete from memos.semantic_links where reversed and "
        + _where("semantic_links", "reversed"),
        ("V05",),
        "semantic_links",
    ),
    Tampering(
        "a link leads nowhere",
        "delete from memos.semantic_memories where id = (select to_id from memos.semantic_links "
        "limit 1)",
        ("V05",),
        "semantic_links",
    ),
)

REJECTS = (
    Tampering(
        "a row is taken out of the table and put into the rejects, counts and all",
        "insert into memos_ops.rejects (target, source, table_name, source_rowid, chunk, key, "
        "reason, detail, row_digest, columns, row, run_id) select 'memos', r.source, r.table_name, "
        "e.source_rowid, e.chunk, '[]', 'json_malformed', 'invented', r.row_digest, r.columns, "
        "r.row, r.run_id from memos.thought_templates e, lateral (select * from memos_ops.rejects "
        "where table_name = 'thought_templates' limit 1) r order by e.source_rowid limit 1; delete "
        "from memos.thought_templates where source_rowid in (select source_rowid from "
        "memos_ops.rejects where table_name = 'thought_templates'); update memos_ops.chunks set "
        "rows = rows - 1, rejected = rejected + 1 where table_name = 'thought_templates'",
        ("V01",),
        "thought_templates",
    ),
    Tampering(
        "the reason of a reject is invented",
        "update memos_ops.rejects set reason = 'invented' where table_name = 'embeddings'",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "the reason of a reject is another one",
        "update memos_ops.rejects set reason = 'null_key' where table_name = 'hybrid_documents' "
        "and reason <> 'null_key'",
        ("V01",),
        "hybrid_documents",
    ),
    Tampering(
        "a reject is deleted",
        "delete from memos_ops.rejects where table_name = 'embeddings' and source_rowid = (select "
        "min(source_rowid) from memos_ops.rejects where table_name = 'embeddings')",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "a reject keeps another row",
        "update memos_ops.rejects set row = row || '\\x00', row_digest = encode(sha256(row || "
        "'\\x00'), 'hex') where table_name = 'embeddings'",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "a reject is settled, and nobody decided so",
        "update memos_ops.rejects set resolution = 'drop' where table_name = 'embeddings'",
        ("V01",),
        "embeddings",
    ),
    Tampering(
        "the detail of a reject is another text",
        "update memos_ops.rejects set detail = 'another' where table_name = 'embeddings'",
        table="embeddings",
        why="words for people beside a reason that is checked; the row itself is kept",
    ),
)
