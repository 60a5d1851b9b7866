"""The quality and the network of memory: as rows of a table, and as bars."""

from collections.abc import Mapping

from memos_assets.memory.graph_health import GraphHealth
from memos_assets.memory.quality import Run, Summary, by_category, summarise
from memos_assets.report.plots import Colour, Plot, bar_plot

#: The line of all questions, beside those of the categories.
ALL = "all"
#: Depth that the bars show.
_DEPTH = 10


def summaries(run: Run) -> dict[str, Summary]:
    """Return category -> summary, and that of all questions first."""
    return {ALL: summarise(run.scores), **by_category(run.scores)}


def quality_records(run: Run) -> list[dict[str, str | int | float]]:
    """Return one record per category: questions, recall at each depth, MRR."""
    return [
        {
            "category": name,
            "questions": one.questions,
            **{f"recall@{depth}": round(share, 4) for depth, share in one.recall.items()},
            "MRR": round(one.mrr, 4),
        }
        for name, one in summaries(run).items()
    ]


def quality_plot(run: Run, before: Run | None) -> Plot:
    """Return recall@10 of each category as bars: found and missed, with that of the run before."""
    former: Mapping[str, Summary] = {} if before is None else summaries(before)
    lines = []
    for name, one in summaries(run).items():
        recall = one.recall[_DEPTH]
        note = f"{recall:.3f}, MRR {one.mrr:.3f}"
        if name in former:
            note += f" (before {former[name].recall[_DEPTH]:.3f})"
        parts: list[tuple[float, Colour]] = [(recall, "good"), (1 - recall, "bad")]
        lines.append((f"{name} ({one.questions})", note, parts))
    return bar_plot(f"Recall@{_DEPTH} by category, found and missed", lines)


def degrees_plot(health: GraphHealth) -> Plot:
    """Return how many memories have how many linked ones, as bars; those without any are red."""
    lines: list[tuple[str, str, list[tuple[float, Colour]]]] = []
    for name, count in health.degrees.items():
        share = count / health.memories if health.memories else 0
        colour: Colour = "bad" if name == "none" else "plain"
        lines.append((f"{name} linked", f"{count:,} ({share:.1%})", [(count, colour)]))
    return bar_plot("Memories by the number of linked memories", lines)
