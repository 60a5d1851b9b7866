"""What changed between snapshots: numbers alone, and bars of days."""

from collections.abc import Mapping

from memos_assets.postgres.schema.agent import AGENT_SCHEMA
from memos_assets.report.plots import Colour, Plot, bar_plot
from memos_assets.snapshots.comparison import LINKS, MEMORIES
from memos_assets.snapshots.differences import Counts, Diff


def diff_numbers(found: Diff) -> dict[str, int]:
    """Return name -> number of a diff. Every name is there, so that a day without changes is 0."""
    memories, links = found.table(MEMORIES), found.table(LINKS)
    of_memories = Counts() if memories is None else memories.rows
    of_links = Counts() if links is None else links.rows
    facts = memories.facts if memories is not None else None
    return {
        "tables_changed": len(found.tables),
        "rows_added": found.rows.added,
        "rows_removed": found.rows.removed,
        "rows_changed": found.rows.changed,
        "memories_added": of_memories.added,
        "memories_removed": of_memories.removed,
        "memories_superseded": facts.superseded if facts else 0,
        "memories_retracted": facts.retracted if facts else 0,
        "links_added": of_links.added,
        "links_removed": of_links.removed,
        "links_reweighted": links.reweighted if links is not None else 0,
        "embeddings_alone": sum(one.embeddings_alone for one in found.tables),
        "columns_added_or_removed": sum(
            len(one.columns_added) + len(one.columns_removed) for one in found.tables
        ),
    }


def table_records(found: Diff) -> list[dict[str, str | int]]:
    """Return one record per table that differs: rows added, removed, changed."""
    return [{"table": one.table, **_counts(one.rows)} for one in found.tables]


def kind_records(found: Diff) -> list[dict[str, str | int]]:
    """Return one record per table of agents and kind of its rows; kinds are those of the schema."""
    return [
        {"table": table.table, "kind": group.kind, **_counts(group.counts)}
        for table in found.tables
        for group in table.kinds
        if group.kind is not None and table.table.startswith(f"{AGENT_SCHEMA}.")
    ]


def days_plot(days: Mapping[str, Counts]) -> Plot:
    """Return rows that came, changed and went on each day as bars, in the order given."""
    lines: list[tuple[str, str, list[tuple[float, Colour]]]] = [
        (
            day,
            f"{rows.added:,} added, {rows.changed:,} changed, {rows.removed:,} removed",
            [(rows.added, "good"), (rows.changed, "plain"), (rows.removed, "bad")],
        )
        for day, rows in days.items()
    ]
    return bar_plot("Rows added, changed and removed, by day", lines)


def _counts(rows: Counts) -> dict[str, int]:
    return {"added": rows.added, "removed": rows.removed, "changed": rows.changed}
