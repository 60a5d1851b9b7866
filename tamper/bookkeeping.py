"""Tampering with the ledger, the registry, the pins and the evaluations."""

from tamper.tampering import Tampering

_LEDGER = "update memos_ops.chunks set {} where table_name = 'corpus_entities'"


def _ledger(what: str, change: str, *red: str) -> Tampering:
    return Tampering(what, _LEDGER.format(change), red or ("V27",), "corpus_entities")


LEDGER = (
    _ledger("the digest of a chunk is another", "digest = md5(digest)"),
    _ledger("the counts of a chunk are others", "rows = rows + 1, source_rows = source_rows + 1"),
    _ledger("rejects of a chunk count as rows", "rows = rows + rejected, rejected = 0"),
    _ledger("the bytes of a chunk are others", "source_bytes = source_bytes + 1"),
    _ledger("the mirrored rows of a chunk are others", "mirrored = 3"),
    _ledger("embeddings left out are others", "without_embedding = '{\"embedding: zero\": 1}'"),
    _ledger("repairs are invented", "repaired = '{\"null_end\": 3}'"),
    _ledger("rules are invented", 'rules = \'{"json_malformed": "drop"}\''),
    _ledger("the code version is invented", "code_version = 'abcdefabcdef'"),
    _ledger("the bounds of a chunk are others", "chunk_rows = 4096"),
    _ledger("the pin of a chunk is none of its source", "pin_digest = md5(pin_digest)"),
    _ledger("a chunk was loaded in the future", "loaded_at = now() + interval '1 hour'"),
    _ledger(
        "a chunk was loaded before its source was known", "loaded_at = now() - interval '1 year'"
    ),
    Tampering(
        "a chunk is not in the ledger",
        "delete from memos_ops.chunks where table_name = 'corpus_entities' and source = "
        "'raspberry_pi'",
        ("V01",),
        "corpus_entities",
    ),
    Tampering(
        "the run of a chunk is another",
        _LEDGER.format("run_id = 'another'"),
        table="corpus_entities",
        why="it names a run of Dagster, whose history may be cleared; no number depends on it",
    ),
)

PINS = (
    Tampering(
        "the pinned copy holds another row",
        pin="update templates set query_pattern = 'other' where rowid = (select min(rowid) from "
        "templates)",
        source="meta_buffer",
        red=("M109",),
        table="thought_templates",
    ),
    Tampering(
        "the pinned copy lost a row, and the table lost it, too",
        "delete from memos.thought_templates where source_rowid = 2; update memos_ops.chunks set "
        "rows = rows - 1, source_rows = source_rows - 1 where table_name = 'thought_templates'",
        pin="delete from templates where rowid = 2",
        source="meta_buffer",
        red=("M109",),
        table="thought_templates",
    ),
    Tampering(
        "the digest of the pin is another",
        "update memos_ops.sources set pin_digest = md5(pin_digest) where source = 'meta_buffer'",
        ("M107",),
        "thought_templates",
    ),
    Tampering(
        "the pin counts no rows, and a corpus is gone",
        "update memos_ops.pins set rows = '{}' where source = 'meta_buffer'; delete from "
        "memos.thought_templates; delete from memos_ops.chunks where table_name = "
        "'thought_templates'; delete from memos_ops.rejects where table_name = 'thought_templates'",
        ("V01", "M109"),
        "thought_templates",
    ),
    Tampering(
        "a chunk of the pin has another digest",
        "update memos_ops.pin_chunks set digest = md5(digest) where source = 'meta_buffer'",
        table="thought_templates",
        why="what is checked is counted in the copy itself; the load reads the chunk once more",
    ),
    Tampering(
        "the file's own fingerprint is another",
        "update memos_ops.pins set fingerprint = md5(fingerprint) where source = 'meta_buffer'",
        table="thought_templates",
        why="where the bytes differ, V08 compares the content, which is that of the pin",
    ),
    Tampering(
        "a source is forgotten, its rows stay",
        "delete from memos_ops.sources where source = 'meta_buffer'",
        ("V01",),
        "thought_templates",
    ),
    Tampering(
        "an evaluation says that it passed",
        "update memos_ops.evaluations set passed = true, observed = 'invented'",
        table="corpora",
        why="verify judges every check anew and replaces it; a report names when it was judged",
    ),
)
