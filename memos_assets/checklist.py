"""The checklist: every claim that proves a consolidation. V-numbers are stable; docs cite them.

What each claim reads is in `consolidate.verify`, `consolidate.links`, `search.explain` and
`search.recall`; docs/checklist.md says what to do when one is red.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
Scope = Literal["table", "source", "index", "archive", "version", "search", "application"]
#: What is claimed of a consolidation, and of the tables and indexes in the days after it.
Group = Literal["proof", "health"]


@dataclass(frozen=True, slots=True)
class Claim:
    """One item of the checklist. ``name`` is the asset check's name.

    ``severity``: red as a ``warning`` means that something is left to do, and nothing is wrong.
    ``group``: claims of ``health`` are no part of the verdict on a consolidation.
    ``blocking``: red, it fails its run, and assets that come after what it is about wait.
    """

    number: int
    name: str
    scope: Scope
    claim: str
    fix: str
    severity: Severity = "error"
    group: Group = "proof"
    #: Number in the evidence of a warning: how much is left to do.
    left_to_do: str = ""
    blocking: bool = False

    @property
    def label(self) -> str:
        """Return the number as people cite it."""
        return f"V{self.number:02d}"


CHECKLIST: tuple[Claim, ...] = (
    Claim(
        1,
        "v01_row_counts_match",
        "table",
        "Every source row is loaded or rejected, once, in every chunk, and nothing else is there.",
        "load the named chunks again: memos-assets consolidate --reload",
    ),
    Claim(
        2,
        "v02_rows_match_bit_for_bit",
        "table",
        "Every row read from SQLite and from PostgreSQL is the same, vectors bit for bit.",
        "load the named rows again: memos-assets consolidate --reload",
    ),
    Claim(
        3,
        "v03_derived_columns_recompute",
        "table",
        "Columns that are not copied follow from those that are, on every row.",
        "keep the source file: its derived columns hold something that float16 does not",
    ),
    Claim(
        4,
        "v04_embedded_rows_match",
        "table",
        "As many rows have a non-NULL, non-zero embedding in PostgreSQL as in SQLite.",
        "load again: memos-assets consolidate --reload; each NULL must carry a reason",
    ),
    Claim(
        5,
        "v05_links_lead_somewhere",
        "table",
        "No link dangles: its ends exist, or its row is in the rejects, or names the loose end.",
        "load the linked table, then this one again: memos-assets consolidate --reload",
    ),
    Claim(
        6,
        "v06_index_is_valid",
        "index",
        "The index exists, is valid, and is what the catalog defines.",
        "materialise the index asset again; an invalid or outdated index is dropped and rebuilt",
    ),
    Claim(
        7,
        "v07_nearest_uses_index",
        "index",
        "EXPLAIN of the catalog's k-nearest query names this index.",
        "run ANALYZE on the table; if it stays, drop the index and materialise its asset",
    ),
    Claim(
        8,
        "v08_source_unchanged_since_pin",
        "source",
        "The file still holds what was pinned and loaded.",
        "memOS wrote to it meanwhile: consolidate again, only changed chunks are copied",
    ),
    Claim(
        9,
        "v09_source_is_accounted_for",
        "source",
        "No table or column of the file is left behind unnamed.",
        "describe the table or column in memos_assets/catalog, then consolidate again",
    ),
    Claim(
        10,
        "v10_embeddings_are_indexed",
        "table",
        "Every embedding has a dimension that an index serves.",
        "add the dimension to the table's VectorColumn in memos_assets/catalog",
    ),
    Claim(
        11,
        "v11_containment_uses_index",
        "index",
        "EXPLAIN of a search by containment, or by keys, names this GIN index.",
        "drop the index and materialise its asset again",
    ),
    Claim(
        12,
        "v12_rejects_are_settled",
        "table",
        "No row waits in the rejects: each was repaired in its file, or somebody decided on it.",
        "see what is open and what may be decided: memos-assets rejects list",
        "warning",
        left_to_do="open_rejects",
    ),
    Claim(
        13,
        "v13_archived_files_are_whole",
        "archive",
        "Every retired file has the bytes that were retired, and nothing is half moved.",
        "memos-assets retire finishes what was interrupted; restore lost files from a backup",
    ),
    Claim(
        14,
        "v14_live_version_is_complete",
        "version",
        "The live tables are one whole version, as their books say, and former ones are kept.",
        "consolidate --swap makes a whole one; versions --prune drops what was left behind",
    ),
    Claim(
        15,
        "v15_search_functions_are_ours",
        "search",
        "The SQL functions for search are those of this checkout, to the letter.",
        "materialise memos/search_functions, or consolidate again",
    ),
    Claim(
        16,
        "v16_recall_is_exact_enough",
        "index",
        "Search finds at least 99 of 100 of the 10 nearest rows that the files hold.",
        "drop the index and materialise its asset again; if it stays, raise ef_construction in "
        "memos_assets/catalog",
        blocking=True,
    ),
    Claim(
        17,
        "v17_distances_match_the_source",
        "index",
        "Every distance that search returns is that of the file's own embedding, to rounding.",
        "load the named row again: memos-assets consolidate --reload",
        blocking=True,
    ),
    Claim(
        18,
        "v18_zero_and_null_never_surface",
        "index",
        "Rows without an embedding never surface in a search, and both sides count the same.",
        "load again: memos-assets consolidate --reload",
        blocking=True,
    ),
    Claim(
        19,
        "v19_text_search_uses_index",
        "index",
        "EXPLAIN of the full-text query that search sends names this GIN index.",
        "drop the index and materialise its asset again",
    ),
    Claim(
        20,
        "v20_tables_are_vacuumed",
        "table",
        "Few row versions of the table are dead; an HNSW index keeps theirs until VACUUM.",
        "memos-assets maintain vacuums it; if it comes back, see why autovacuum does not",
        group="health",
    ),
    Claim(
        21,
        "v21_recall_has_not_drifted",
        "index",
        "Searches by the index find what exact scans of the table find, on a sample of its rows.",
        "memos-assets maintain vacuums the table, or rebuilds the index beside its readers",
        group="health",
    ),
    Claim(
        22,
        "v22_no_index_is_left_invalid",
        "version",
        "No build and no rebuild that broke off left an index that is written and never read.",
        "memos-assets maintain drops leftovers and rebuilds ours; drop those of others by hand",
        group="health",
    ),
    Claim(
        23,
        "v23_statistics_are_there",
        "table",
        "The planner has statistics of every column, and few rows changed since.",
        "memos-assets maintain analyses it; if it comes back, see why autovacuum does not",
        group="health",
    ),
    Claim(
        24,
        "v24_indexes_are_used",
        "index",
        "Somebody searched by the index within 30 days, and no other index does the same.",
        "drop the index that does the same; one that nobody searches costs room and every write",
        "warning",
        group="health",
        left_to_do="unused",
    ),
    Claim(
        25,
        "v25_application_tables_are_whole",
        "application",
        "The tables of memOS are as the adoption left them: keys, jsonb, every original spelling.",
        "put back what it names; the dump of before the adoption is in MEMOS_HOME/backups",
    ),
)
CLAIMS = {claim.name: claim for claim in CHECKLIST}
