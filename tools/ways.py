"""The two ways through the house: of a row that is consolidated, of a query that is answered."""

from dataclasses import dataclass

#: Beside the house: not modules of ours.
FILES, DATABASE, CALLER = "SQLite files", "PostgreSQL", "caller"


@dataclass(frozen=True, slots=True)
class Station:
    """One step of a way.

    Attributes:
        mark: number or letter in the picture.
        name: of the step, one word.
        at: the module where it is taken, or what is beside the house.
        about: one clause for the page.
    """

    mark: str
    name: str
    at: str
    about: str


ROW = (
    Station("1", "SQLite file", FILES, "memOS writes it; it is opened read-only"),
    Station(
        "2",
        "pin",
        "memos_assets.consolidate.sources.pins",
        "a consistent copy is taken once per consolidation, and everything after reads it",
    ),
    Station(
        "3",
        "chunk",
        "memos_assets.consolidate.sources.chunks",
        "rowids are cut into ranges with a digest each; an unchanged chunk is not loaded again",
    ),
    Station(
        "4",
        "decode",
        "memos_assets.consolidate.decoding.batches",
        "stored values become Arrow columns, or rejects with a reason",
    ),
    Station(
        "5", "COPY", "memos_assets.postgres.copy.encode", "batches become PostgreSQL's binary COPY"
    ),
    Station(
        "6",
        "ledger",
        "memos_assets.consolidate.loading.ledger",
        "the chunk is entered in the transaction of its rows",
    ),
    Station(
        "7",
        "proof",
        "memos_assets.proof.rows.compare",
        "the pinned copy and the table are read again and compared by code of their own",
    ),
)
QUERY = (
    Station("a", "session", CALLER, "the caller's own: nothing is opened or committed"),
    Station(
        "b",
        "search",
        "memos_assets.search.api",
        "an embedding, a text or both become one statement",
    ),
    Station(
        "c",
        "function",
        DATABASE,
        "`memos.search_<table>`, `match_<table>` or `hybrid_<table>` runs in the database",
    ),
    Station("d", "index", DATABASE, "HNSW, full-text or GIN finds candidates; they are ranked"),
    Station("e", "hits", "memos_assets.search.calls", "rows become hits, the best first"),
)
EVERY_STATION = ROW + QUERY
