"""Every known defect of memOS's files, and how a consolidation treats its rows.

docs/known-defects.md is this list in Markdown; tests compare it with the files and PostgreSQL.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejected:
    """The row is in the rejects under ``reason``; ``detail`` is a pattern of what it says."""

    reason: str
    detail: str = "%"


@dataclass(frozen=True, slots=True)
class WithoutEmbedding:
    """The row is loaded, its embedding is NULL for ``reason``.

    ``where_stated``: the reason in tables whose rows state their dimension.
    """

    reason: str
    where_stated: str | None = None


@dataclass(frozen=True, slots=True)
class Treated:
    """The row is loaded, or stays where it is; ``how`` says what becomes of the value."""

    how: str


Outcome = Rejected | WithoutEmbedding | Treated


@dataclass(frozen=True, slots=True)
class KnownDefect:
    """One known defect: its name in the manifest, its description, its outcome."""

    name: str
    about: str
    outcome: Outcome

    @property
    def loses_data(self) -> bool:
        """Whether it costs the row itself or its embedding."""
        return not isinstance(self.outcome, Treated)

    @property
    def becomes(self) -> str:
        """What becomes of its rows, in Markdown."""
        outcome = self.outcome
        if isinstance(outcome, Rejected):
            return f"rejected: `{outcome.reason}`"
        if isinstance(outcome, WithoutEmbedding):
            stated = outcome.where_stated
            other = f", `{stated}` where the row states its dimension" if stated else ""
            return f"loaded without its embedding: `{outcome.reason}`{other}"
        return outcome.how


_BIT_FOR_BIT = Treated("loaded bit for bit under its own dimension, which has its own index")
_INSTANT = Treated("loaded as the instant it means, `timestamptz`")

DEFECTS: tuple[KnownDefect, ...] = (
    # Keys and texts
    KnownDefect(
        "null_primary_keys",
        "NULL in a TEXT PRIMARY KEY, which SQLite allows",
        Rejected("null_key"),
    ),
    KnownDefect(
        "null_characters",
        "U+0000 in a text, from optical recognition",
        Rejected("nul_character"),
    ),
    KnownDefect("invalid_utf8", "text bytes of another encoding", Rejected("invalid_utf8")),
    KnownDefect(
        "ids_that_are_not_uuids",
        "the first 12 characters of a UUID as key",
        Treated("loaded as text"),
    ),
    KnownDefect(
        "doc_ids_of_other_files",
        "the same document in two files, with other vectors",
        Treated("loaded twice; the name of the source is part of every key"),
    ),
    KnownDefect(
        "reindexed_rows",
        "written again by INSERT OR REPLACE, which moves the rowid to the end",
        Treated("loaded once; `created_at` is that of the last write"),
    ),
    KnownDefect("empty_contents", "an empty text that was hashed like any", Treated("stays")),
    KnownDefect("null_descriptions", "no description", Treated("loaded as NULL")),
    # JSON
    KnownDefect(
        "json_nan",
        "`NaN` in JSON, as Python writes it",
        Rejected("json_not_finite", "%: NaN"),
    ),
    KnownDefect(
        "json_infinity",
        "`Infinity` in JSON, as Python writes it",
        Rejected("json_not_finite", "%: Infinity"),
    ),
    KnownDefect("json_null_character", r"`\u0000` in JSON", Rejected("json_nul")),
    KnownDefect(
        "malformed_json",
        "JSON that was cut off, or the `repr` of a Python dict",
        Rejected("json_malformed"),
    ),
    KnownDefect(
        "attributes_array",
        "a list where an object is expected",
        Treated("loaded as the JSON it is"),
    ),
    KnownDefect(
        "attributes_string",
        "a string where an object is expected",
        Treated("loaded as the JSON it is"),
    ),
    KnownDefect(
        "attributes_null",
        "the JSON `null` where an object is expected",
        Treated("loaded as JSON `null`, not as NULL"),
    ),
    KnownDefect("questions_as_objects", "objects where strings are usual", Treated("stays")),
    # Times
    KnownDefect("timestamps_sqlite_utc", "`YYYY-MM-DD HH:MM:SS`, UTC by convention", _INSTANT),
    KnownDefect(
        "timestamps_postgresql_utc",
        "the same with microseconds, as a PostgreSQL `timestamp` prints, UTC by convention",
        _INSTANT,
    ),
    KnownDefect("timestamps_iso_offset", "ISO-8601 with `+00:00`", _INSTANT),
    KnownDefect(
        "timestamps_without_fraction",
        "ISO-8601 whose fraction is absent because it is zero",
        _INSTANT,
    ),
    KnownDefect(
        "timestamps_unix",
        "Unix seconds as REAL",
        Treated("loaded as the instant it means, rounded to microseconds half to even"),
    ),
    KnownDefect(
        "timestamps_iso_local",
        "ISO-8601 without an offset, in the server's zone",
        Treated("stays; the census reads it in the zone that `MEMOS_LOCAL_ZONE` declares"),
    ),
    KnownDefect(
        "unreadable_timestamps",
        "`yesterday`, an impossible date, or nothing",
        Rejected("timestamp_unreadable"),
    ),
    # Embeddings that are none
    KnownDefect("null_embeddings", "no embedding", WithoutEmbedding("missing")),
    KnownDefect(
        "empty_vectors",
        "0 bytes: the service answered with an empty list",
        WithoutEmbedding("empty"),
    ),
    KnownDefect(
        "zero_vectors",
        "all zeros: the service failed",
        WithoutEmbedding("zero"),
    ),
    KnownDefect("nan_vectors", "NaN among the elements", WithoutEmbedding("not_finite")),
    KnownDefect("infinite_vectors", "infinity among the elements", WithoutEmbedding("not_finite")),
    KnownDefect(
        "truncated_vectors",
        "cut after an element, so that the length is that of no model",
        WithoutEmbedding("unknown_dimension", where_stated="wrong_length"),
    ),
    KnownDefect("torn_vectors", "cut within an element", WithoutEmbedding("wrong_length")),
    KnownDefect(
        "foreign_dimensions",
        "whole, of 384 elements, which no model of memOS has",
        WithoutEmbedding("unknown_dimension"),
    ),
    KnownDefect(
        "float32_anchors",
        "float32 in a float16 column; the dimension beside it tells",
        WithoutEmbedding("wrong_length"),
    ),
    KnownDefect(
        "float64_anchors",
        "float64 in a float16 column; the dimension beside it tells",
        WithoutEmbedding("wrong_length"),
    ),
    KnownDefect(
        "malformed_json_vectors",
        "a JSON vector that was cut off",
        WithoutEmbedding("not_a_vector"),
    ),
    # Embeddings that differ from their neighbours
    KnownDefect("vectors_of_768", "nomic-embed-text among others", _BIT_FOR_BIT),
    KnownDefect("vectors_of_1024", "mxbai, bge-m3 or a small qwen3 among others", _BIT_FOR_BIT),
    KnownDefect("vectors_of_2560", "qwen3-embedding:4b among others", _BIT_FOR_BIT),
    KnownDefect("vectors_of_4096", "qwen3-embedding:8b among others", _BIT_FOR_BIT),
    KnownDefect(
        "unit_vectors",
        "normalised by the local model, beside raw ones",
        Treated("loaded bit for bit; the index compares by cosine, which lengths do not change"),
    ),
    KnownDefect(
        "padded_vectors",
        "zero-padded from 512 elements to 768",
        Treated("loaded bit for bit"),
    ),
    KnownDefect(
        "vectors_as_json_text",
        "a JSON array in a TEXT",
        Treated("loaded as a vector, numbers rounded to float32"),
    ),
    KnownDefect(
        "vectors_as_json_in_blob",
        "a JSON array as UTF-8 in a BLOB",
        Treated("loaded as a vector, numbers rounded to float32"),
    ),
    KnownDefect(
        "json_vectors_of_float32_length",
        "such a BLOB whose length is a multiple of 4, as of float32",
        Treated("loaded as a vector: the catalog declares the encoding, the length does not"),
    ),
    # Derived columns
    KnownDefect(
        "scale_stored_as_blob",
        "a 2-byte float16 in a REAL column, from NumPy 2",
        Treated("not copied; V03 recomputes it from the embedding"),
    ),
    KnownDefect(
        "scale_stored_as_real",
        "a float64 in the same column, from NumPy 1 or a zero vector",
        Treated("not copied; V03 recomputes it from the embedding"),
    ),
    KnownDefect(
        "numpy_1_rows",
        "quantised with the float64 quotient of NumPy 1",
        Treated("not copied; V03 recomputes with either arithmetic"),
    ),
    KnownDefect(
        "null_residuals",
        "no residual: the caller asked for none",
        Treated("not copied; V03 takes the absence as right"),
    ),
    KnownDefect(
        "depth_stored_as_blob",
        "a 4-byte float32 in a REAL column, from NumPy 2",
        Treated("loaded as the number it holds"),
    ),
    KnownDefect("depth_stored_as_real", "a float64 in the same column", Treated("loaded as it is")),
    KnownDefect(
        "nan_stored_as_null",
        "NaN bound to a REAL column, which SQLite stores as NULL",
        Treated("loaded as NULL"),
    ),
    # Sparse vectors and terms
    KnownDefect(
        "word_sparse_vectors",
        "weights by word, of the Ollama era",
        Treated("loaded as JSON with `sparse_vocabulary` = `words`"),
    ),
    KnownDefect(
        "token_id_sparse_vectors",
        "weights by token id, of the FlagEmbedding era",
        Treated("loaded as JSON with `sparse_vocabulary` = `xlmr_token_ids`"),
    ),
    KnownDefect("null_sparse_vectors", "no sparse vector", Treated("loaded as NULL")),
    KnownDefect(
        "stale_postings",
        "postings of a text that was replaced",
        Treated("loaded as they are: memOS's index, not ours"),
    ),
    # Links
    KnownDefect(
        "dangling_ends",
        "a relation to an entity that is not in the file",
        Rejected("dangling_end", "% does not exist"),
    ),
    KnownDefect(
        "dangling_targets",
        "a connection to a memory that was deleted",
        Rejected("dangling_end", "% does not exist"),
    ),
    KnownDefect(
        "links_to_rejected_rows",
        "a declared link to a row that is rejected",
        Rejected("dangling_end", "% is rejected itself"),
    ),
    KnownDefect(
        "loose_references",
        "an entity named as no row is called; memOS declares no key there",
        Treated("loaded; the column `missing` names the end"),
    ),
    KnownDefect(
        "missing_parents",
        "a parent that is not in the file; memOS declares no key there",
        Treated("loaded; the column `missing` names the end"),
    ),
    KnownDefect("self_relations", "a relation of an entity to itself", Treated("loaded as it is")),
    KnownDefect(
        "duplicate_triples",
        "the same relation under another id",
        Treated("loaded as it is: nothing is merged"),
    ),
    KnownDefect(
        "duplicate_canonical_names",
        "another entity of the same canonical name",
        Treated("loaded as it is: nothing is merged"),
    ),
    KnownDefect(
        "forward_only_edges",
        "a connection that counts both ways and is stored one way",
        Treated("loaded, and once more reversed"),
    ),
    KnownDefect(
        "unresolved_chunk_hashes",
        "hashes of chunks that memOS never wrote",
        Treated("loaded as JSON, not as links"),
    ),
    # Free text where a closed set is expected
    KnownDefect("piped_entity_types", "two types, a bar between", Treated("loaded as it is")),
    KnownDefect("free_relation_types", "`AFFECTS_COMPONENT`", Treated("loaded as it is")),
    KnownDefect(
        "repeated_memories",
        "the same content under another id, after a re-index",
        Treated("loaded as it is: nothing is merged"),
    ),
    KnownDefect("never_used_templates", "no time of last use", Treated("loaded as NULL")),
    # Layouts
    KnownDefect(
        "absent_model_tags",
        "rows of a file from before the column `model_tag`",
        Treated("loaded with a NULL model"),
    ),
    KnownDefect(
        "null_model_tags",
        "the column `model_tag`, which no writer sets",
        Treated("loaded as NULL; the dimension is what is known of the model"),
    ),
    KnownDefect(
        "reordered_columns",
        "rows of a table whose columns are in another order",
        Treated("loaded; columns are read by name"),
    ),
    # Caches
    KnownDefect("failed_pages", "a failure that was cached", Treated("stays")),
    KnownDefect(
        "expired_rows",
        "past their expiry; opening the file through memOS would delete them",
        Treated("stays; the census counts them"),
    ),
)
CLASSES: dict[str, KnownDefect] = {defect.name: defect for defect in DEFECTS}
