"""Why a row is rejected and why an embedding is NULL: every reason code and what it means."""

from typing import Final

#: Reason -> what it means. The row is not loaded; it is in memos_ops.rejects.
REJECT_REASONS: Final[dict[str, str]] = {
    "null_key": "a key column is NULL, which SQLite allows in a TEXT PRIMARY KEY",
    "duplicate_key": "the key occurs before in the same chunk, so an index of the file is damaged",
    "key_too_long": "the key is longer than a PostgreSQL index entry may be (2,600 bytes)",
    "nul_character": "the text holds a NUL character, which PostgreSQL text refuses",
    "invalid_utf8": "the text is not valid UTF-8",
    "wrong_type": "the value has a storage class that the column does not promise",
    "json_malformed": "the text is not JSON",
    "json_not_finite": "the JSON holds NaN or Infinity, which no JSON standard and no jsonb knows",
    "json_nul": r"the JSON holds \u0000, which jsonb refuses",
    "json_surrogate": "the JSON holds half of a surrogate pair, which jsonb refuses",
    "json_number": "the JSON holds a number beyond the range of jsonb",
    "json_too_deep": "the JSON is nested too deeply",
    "json_too_long": "the JSON is longer than 8 million characters",
    "json_duplicate_key": "the JSON repeats a key, of which jsonb keeps the last value",
    "integer_inexact": "the integer is beyond 2^53, and no float64 equals it",
    "timestamp_unreadable": "the time stamp does not follow the column's convention",
    "timestamp_too_fine": "the time stamp has digits beyond microseconds",
    "timestamp_without_zone": "the time stamp lacks the offset that the column promises",
    "dangling_end": "the row links to a row that is missing or rejected",
}

#: Reason -> what it means. The row is loaded with its text; only the embedding is NULL.
EMBEDDING_REASONS: Final[dict[str, str]] = {
    "missing": "the source holds no embedding (NULL)",
    "empty": "0 bytes: the embedding service answered with an empty list",
    "zero": "all zeros: memOS stores that when the embedding service failed",
    "not_finite": "NaN or infinite values, which pgvector refuses",
    "wrong_length": "the length does not fit the dimension that the row states",
    "unknown_dimension": "the length fits no known model",
    "out_of_range": "float32 cannot hold a number, or the sum of squares by which search compares",
    "not_a_vector": "neither a BLOB nor a JSON array of numbers, as the column promises",
}
