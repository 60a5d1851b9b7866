"""The command line: which sets, at which thresholds, and the tables they give."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from bench.sheets import Sheet
from eval.cache import measure, sets
from eval.cache.vectors import VectorsOfTexts
from eval.question_sets import EvalError
from memos_assets.cache.calibration import Calibration, calibrate
from memos_assets.cache.gate import NamespaceRules, rules_for
from memos_assets.errors import MemosAssetsError, UsageError
from memos_assets.search.embed import configured_embedder
from memos_assets.settings import Settings

#: The threshold of the remediation plan.
PLANNED: Final = 0.88
#: Mock pairs that are asked, and the entry that each belongs to: the first 300 are for tuning.
FIRST_ASKED: Final = 300
#: Namespaces that are measured: with the slots rule, and without it.
ANSWERS, DEFAULT = "answers", "default"

_console = Console(highlight=False)
_progress = Console(stderr=True, highlight=False)


def main() -> None:
    """Measure the sets and exit: 0 measured, whatever was found; 2 one could not be."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(evaluate)
    try:
        app()
    except (EvalError, MemosAssetsError) as error:
        _progress.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(2)


def evaluate(
    data: Annotated[Path, typer.Option("--data", help="The folder of the sets.")],
    vectors: Annotated[
        Path | None, typer.Option("--vectors", help="An .npz file to keep vectors in.")
    ] = None,
    budget: Annotated[
        float, typer.Option("--budget", help="Most false hits, as a share of different pairs.")
    ] = 0.05,
) -> None:
    """Measure precision, recall, traps and replays of the semantic cache's gate."""
    settings = Settings()
    if settings.embedder is None:
        raise UsageError(
            "M577",
            "the cache is measured with the similarities of a model",
            where="MEMOS_EMBEDDER",
            fix="set MEMOS_EMBEDDER, such as to minilm",
        )
    of = VectorsOfTexts(configured_embedder(settings), vectors)
    for sheet in sheets(data, of, configured_embedder(settings).model, budget):
        _console.print(sheet.markdown(), markup=False, soft_wrap=True)


def sheets(data: Path, of: VectorsOfTexts, model: str, budget: float) -> Iterator[Sheet]:
    """Yield the tables, one set after the other."""
    calibrated = {name: _calibrated(data, of, name, model, budget) for name in (DEFAULT, ANSWERS)}
    thresholds = {name: found.threshold for name, found in calibrated.items()}
    yield questions_sheet(data, of, calibrated)
    yield traps_sheet(data, of, thresholds)
    yield one_word_sheet(data, of, thresholds)
    yield originals_sheet(data, of, thresholds)
    yield from replay_sheets(data, of, thresholds)


def _calibrated(
    data: Path, of: VectorsOfTexts, namespace: str, model: str, budget: float
) -> Calibration:
    pairs = sets.questions(data)
    tuned = [pairs[place] for place in measure.halves(pairs)[0]]
    return calibrate(tuned, of.cosines(tuned), namespace=namespace, model=model, budget=budget)


def questions_sheet(data: Path, of: VectorsOfTexts, calibrated: dict[str, Calibration]) -> Sheet:
    """Return precision and recall on the half of the pairs that no threshold was chosen on."""
    pairs = sets.questions(data)
    kept = [pairs[place] for place in measure.halves(pairs)[1]]
    cosines = of.cosines(kept)
    rows = []
    named: list[tuple[str, float, NamespaceRules | None]] = [
        ("cosine alone", PLANNED, None),
        ("cosine alone", 0.90, None),
        *((f"gate, {name}", PLANNED, rules_for(name)) for name in calibrated),
        *(
            (f"gate, {name}, calibrated", found.threshold, rules_for(name))
            for name, found in calibrated.items()
        ),
    ]
    for name, threshold, rules in named:
        found = measure.served(kept, cosines, threshold, rules)
        rows.append(
            (
                name,
                f"{threshold:.3f}",
                f"{found.precision:.3f}",
                f"{found.plain_precision:.3f}",
                f"{found.recall:.3f}",
                f"{found.false_share:.4f}",
            )
        )
    columns = ("", "threshold", "precision", "as it is", "recall", "false hits")
    note = (
        f"{len(kept):,} question pairs that no threshold was chosen on. Precision is that of a set "
        "with as many duplicates as others; this one has twice as many others (as it is)."
    )
    return Sheet("cache-questions", "Question pairs of the other half", columns, rows, note)


def traps_sheet(data: Path, of: VectorsOfTexts, thresholds: dict[str, float]) -> Sheet:
    """Return how many traps are served, and how many paraphrases beside them."""
    labelled = sets.traps(data)
    rows = []
    for group in sorted({one.group for one in labelled}):
        pairs = [one.pair for one in labelled if one.group == group]
        cosines = of.cosines(pairs)
        for name, threshold, rules in _settings(thresholds):
            found = measure.served(pairs, cosines, threshold, rules)
            rows.append(
                (
                    f"{group}, {name}",
                    f"{threshold:.3f}",
                    f"{found.false_hits} of {found.different}",
                    f"{found.hits} of {found.same}",
                )
            )
    columns = ("", "threshold", "traps served", "paraphrases served")
    return Sheet("cache-traps", "Traps", columns, rows)


def one_word_sheet(data: Path, of: VectorsOfTexts, thresholds: dict[str, float]) -> Sheet:
    """Return how many one-word contradictions and synonyms are served."""
    pairs = [one.pair for one in sets.one_word(data)]
    cosines = of.cosines(pairs)
    rows = []
    for name, threshold, rules in (
        *_settings(thresholds),
        (f"gate, {ANSWERS}, whatever the cosine", -1.0, rules_for(ANSWERS)),
    ):
        found = measure.served(pairs, cosines, threshold, rules)
        shown = f"{threshold:.3f}" if threshold > 0 else "none"
        rows.append((name, shown, f"{found.false_share:.2%}", f"{found.recall:.1%}"))
    note = f"{len(pairs):,} pairs of sentences that differ in a word or phrase."
    columns = ("", "threshold", "contradictions served", "synonyms served")
    return Sheet("cache-words", "One word that differs", columns, rows, note)


def originals_sheet(data: Path, of: VectorsOfTexts, thresholds: dict[str, float]) -> Sheet:
    """Return right and wrong winners of reworded texts, among all originals."""
    pairs = sets.originals(data)
    # A text that is there twice is one entry.
    entries = [sets.Asked(origin, origin) for origin in dict.fromkeys(one for one, _ in pairs)]
    asked = [sets.Asked(similar, origin) for origin, similar in pairs[FIRST_ASKED:]]
    found = measure.nearest(
        of.of([one.text for one in entries]), of.of([one.text for one in asked])
    )
    rows = []
    for name, threshold, rules in _settings(thresholds):
        replayed = measure.replay_known(entries, asked, found, threshold, rules)
        rows.append((name, f"{threshold:.3f}", f"{replayed.right:,}", f"{replayed.wrong:,}"))
    note = f"{len(asked):,} reworded texts, each against its nearest of {len(entries):,}."
    columns = ("", "threshold", "right", "wrong")
    return Sheet("cache-originals", "Reworded texts", columns, rows, note)


def replay_sheets(data: Path, of: VectorsOfTexts, thresholds: dict[str, float]) -> Iterator[Sheet]:
    """Yield the replay of questions by intent: each once, and repeated as people do."""
    questions, new = sets.intents(data)
    known = measure.first_of_intents(questions)
    found = measure.nearest(of.of([one.text for one in known]), of.of([one.text for one in new]))
    rows = []
    for name, threshold, rules in _settings(thresholds):
        replayed = measure.replay_known(known, new, found, threshold, rules)
        rows.append((name, f"{threshold:.3f}", *_rates(replayed)))
    note = (
        f"{len(new):,} new questions, once each, with {len(known):,} known ones "
        f"({measure.KNOWN} per intent). Wrong: the answer to another intent."
    )
    columns = ("", "threshold", "hits", "exact", "wrong of hits", "wrong of all")
    yield Sheet("cache-replay", "Replay, every question new", columns, rows, note)
    vectors = of.of([one.text for one in new])
    rows = []
    for name, threshold, rules in _settings(thresholds):
        if rules is not None:
            repeated = measure.replay_repeated(new, vectors, threshold, rules)
            rows.append((name, f"{threshold:.3f}", *_rates(repeated)))
    note = (
        f"{measure.REQUESTS:,} requests for {len(new):,} questions, the n-th as often as 1/n, of a "
        "cache that is empty at first."
    )
    yield Sheet("cache-repeats", "Replay with repeats", columns, rows, note)


def _rates(replayed: measure.Replayed) -> Sequence[str]:
    exact = replayed.exact / replayed.requests
    return (
        f"{replayed.hit_rate:.1%}",
        f"{exact:.1%}",
        f"{replayed.wrong_share:.1%}",
        f"{replayed.wrong_rate:.1%}",
    )


def _settings(
    thresholds: dict[str, float],
) -> list[tuple[str, float, NamespaceRules | None]]:
    """Return what is compared: the cosine alone, and the rules of each namespace."""
    return [
        ("cosine alone", PLANNED, None),
        *((f"gate, {name}", PLANNED, rules_for(name)) for name in thresholds),
        *(
            (f"gate, {name}, calibrated", threshold, rules_for(name))
            for name, threshold in thresholds.items()
        ),
    ]
