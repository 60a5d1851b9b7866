"""The command line: which set, which embedder, and what the last run found."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bench.sheets import Sheet
from eval.measure import FUSED, Measured, measure
from eval.question_sets import EvalError, QuestionSet, read_locomo, read_set
from eval.world import opened_world
from memos_assets.errors import MemosAssetsError
from memos_assets.files import write_whole
from memos_assets.memory.quality import Run, Score, by_category, compare, summarise
from memos_assets.search.embed import DeterministicEmbedder, Embedder, configured_embedder
from memos_assets.settings import Settings

SETS = Path(__file__).parent / "sets"
_console = Console(highlight=False)
_progress = Console(stderr=True, highlight=False)


def main() -> None:
    """Measure a set and exit: 0 measured, whatever was found; 2 it could not be."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(evaluate)
    try:
        app()
    except (EvalError, MemosAssetsError) as error:
        _progress.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(2)


def evaluate(
    questions: Annotated[
        Path | None, typer.Option("--set", help="A JSONL file; without it, the set in eval/sets.")
    ] = None,
    locomo: Annotated[
        Path | None, typer.Option("--locomo", help="Conversations of LoCoMo, flat, as JSON.")
    ] = None,
) -> None:
    """Remember a question set, ask its questions, and print recall, MRR and latency."""
    settings = Settings()
    if locomo is not None:
        chosen = read_locomo(locomo)
    else:
        chosen = read_set(questions or SETS / "notes.jsonl")
    embedder = _embedder(settings)
    memories = sum(len(group.memories) for group in chosen.groups)
    _progress.print(f"{chosen.name}: {memories:,} memories, embedded by {embedder.model}")
    with opened_world(embedder) as world:
        measured = measure(world, chosen)
    for sheet in sheets(chosen, measured):
        _console.print(sheet.markdown(), markup=False, soft_wrap=True)
    _console.print(latency(measured), markup=False, soft_wrap=True)
    run = Run(embedder.model, tuple(measured.scores[FUSED]))
    path = settings.home / "eval" / f"{chosen.name}.json"
    _console.print(compared(path, run), markup=False, soft_wrap=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(run.to_json()))


def _embedder(settings: Settings) -> Embedder:
    if settings.embedder is None:
        _progress.print("MEMOS_EMBEDDER is not set: words alone tell texts apart")
        return DeterministicEmbedder()
    return configured_embedder(settings)


def sheets(chosen: QuestionSet, measured: Measured) -> list[Sheet]:
    """Return the tables: by ranking, and by category of the ranking that is the default."""
    columns = ("", "questions", "R@5", "R@10", "R@20", "evidence in 10", "MRR")
    by_ranking = [_row(name, scores) for name, scores in measured.scores.items()]
    fused = measured.scores[FUSED]
    categories = [
        _row(name, [one for one in fused if one.category == name]) for name in by_category(fused)
    ]
    return [
        Sheet("ranking", f"{chosen.name}, by ranking", columns, by_ranking),
        Sheet("category", f"{chosen.name}, {FUSED}, by category", columns, categories),
    ]


def _row(name: str, scores: Sequence[Score]) -> tuple[str, ...]:
    found = summarise(scores)
    recalls = (f"{found.recall[depth]:.3f}" for depth in (5, 10, 20))
    return (
        name,
        f"{found.questions:,}",
        *recalls,
        f"{found.evidence_found[10]:.3f}",
        f"{found.mrr:.3f}",
    )


def latency(measured: Measured) -> str:
    """Say how long recalls and remembering took."""
    count, seconds = measured.remembered
    return (
        f"Recall without the embedding of the question: p50 {measured.percentile(50):.1f} ms, "
        f"p95 {measured.percentile(95):.1f} ms. Remembered {count:,} memories with their "
        f"embeddings in {seconds:.0f} s."
    )


def compared(path: Path, run: Run) -> str:
    """Say how a run differs from the last one of its set, on the questions that both have."""
    try:
        last = Run.from_json(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return "No run of this set is kept to compare with."
    except (ValueError, KeyError, TypeError):
        return f"The run in {path} cannot be read; it is replaced."
    lines = []
    for name, depth in (("R@10", 10), ("MRR", None)):
        found = compare(last, run, depth=depth)
        if found is None:
            return "The last run of this set has no question of this one."
        verdict = "better" if found.better else "worse" if found.worse else "no difference"
        lines.append(
            f"{name} {found.before:.3f} -> {found.after:.3f} on {found.questions:,} questions, "
            f"difference {found.difference:+.3f} (95 %: {found.low:+.3f} to {found.high:+.3f}): "
            f"{verdict}."
        )
    return f"Against the last run ({last.model}): " + " ".join(lines)
