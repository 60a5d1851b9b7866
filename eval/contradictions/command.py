"""The command line: which sets, and the tables they give."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

import memos_assets
from bench.sheets import Sheet
from eval.cache.vectors import VectorsOfTexts
from eval.contradictions import measure, sets
from eval.contradictions.sets import Labelled
from eval.question_sets import EvalError
from memos_assets.contradictions import Statement
from memos_assets.contradictions.candidates import Vectors
from memos_assets.errors import MemosAssetsError
from memos_assets.search.embed import configured_embedder
from memos_assets.settings import Settings

#: Statements that `candidates` is timed with.
MANY: Final = 10_000

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
    pairs: Annotated[
        Path, typer.Option("--set", help="A JSONL file of pairs; without it, the set in eval/sets.")
    ] = sets.OWN,
    sick: Annotated[
        Path | None, typer.Option("--sick", help="Pairs of SICK, a table with tabs.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option("--vectors", help="An .npz file to keep vectors in.")
    ] = None,
) -> None:
    """Measure detection, false alarms, candidates, updates and speed of contradictions."""
    own = sets.own(pairs)
    chats = sets.chats(data)
    settings = Settings()
    of = VectorsOfTexts(configured_embedder(settings), vectors) if settings.embedder else None
    if of is None:
        _progress.print("MEMOS_EMBEDDER is not set: candidates are found by words alone")
    shown: list[Iterator[Sheet]] = [
        one_word_sheets(data),
        own_sheets(own),
        sick_sheets(sick),
        alarm_sheets(chats),
        candidate_sheets(own, chats, of),
        speed_sheets(own, chats),
    ]
    for part in shown:
        for sheet in part:
            _console.print(sheet.markdown(), markup=False, soft_wrap=True)


def _row(name: str, pairs: Sequence[Labelled]) -> tuple[str, ...]:
    found = measure.counted(pairs)
    return (
        name,
        f"{found.right:,} of {found.gold:,}",
        f"{found.wrong:,} of {found.others:,}",
        f"{found.precision:.3f}",
        f"{found.recall:.3f}",
        f"{found.f1:.3f}",
    )


_COLUMNS: Final = ("", "contradictions", "others surfaced", "precision", "recall", "F1")


def one_word_sheets(data: Path) -> Iterator[Sheet]:
    """Yield what is surfaced of sentences that differ in one word, by category."""
    seen, kept = sets.one_word(data)
    rows = [_row("half in sight", seen), _row("other half", kept)]
    rows += [
        _row(f"other half, {group}", [pair for pair in kept if pair.group == group])
        for group in sorted({pair.group for pair in kept})
    ]
    note = "Others are synonyms. Words and rules were written with the first half in sight."
    yield Sheet("contradictions-one-word", "One word differs", _COLUMNS, rows, note)


def own_sheets(own: Sequence[Labelled]) -> Iterator[Sheet]:
    """Yield what is surfaced of the set written here, and which updates are recorded as such."""
    groups = sorted({(pair.language, pair.group) for pair in own})
    rows = [_row(name, [p for p in own if p.language == name]) for name in ("en", "de")]
    for language, group in groups:
        chosen = [p for p in own if (p.language, p.group) == (language, group)]
        if any(pair.label == sets.CONTRADICTION for pair in chosen):
            rows.append(_row(f"{language}, {group}", chosen))
    note = "Statements as in chats, without a judge. Rules were written beside these pairs."
    yield Sheet("contradictions-chat", "Chat sentences", _COLUMNS, rows, note)
    updates = [pair for pair in own if pair.label == sets.UPDATE]
    recorded = sum(measure.said_of(pair) == sets.UPDATE for pair in updates)
    yield Sheet(
        "contradictions-updates",
        "Updates",
        ("", "recorded as updates"),
        [("by their dates or words", f"{recorded} of {len(updates)}")],
    )


def sick_sheets(path: Path | None) -> Iterator[Sheet]:
    """Yield what is surfaced of pairs of SICK, if a file is given."""
    if path is not None:
        rows = [_row("SICK", sets.sick(path))]
        yield Sheet("contradictions-sick", "SICK", _COLUMNS, rows)


def alarm_sheets(chats: Sequence[Sequence[Statement]]) -> Iterator[Sheet]:
    """Yield what is surfaced in ordinary chats, and in code."""
    program = sets.code(Path(memos_assets.__file__).parent / "search")
    rows = []
    for name, groups in (("chats", chats), ("code", [program])):
        found = measure.alarms(groups)
        rows.append(
            (
                name,
                f"{found.pairs:,}",
                f"{found.surfaced:,}",
                f"{found.sentences:,}",
                f"{found.involved:,}",
            )
        )
    columns = ("", "pairs", "surfaced", "asserted sentences", "statements in surfaced pairs")
    note = "Every two turns of a speaker; every two pieces of ten lines of the modules of search."
    yield Sheet("contradictions-alarms", "Ordinary statements", columns, rows, note)


def candidate_sheets(
    own: Sequence[Labelled], chats: Sequence[Sequence[Statement]], of: VectorsOfTexts | None
) -> Iterator[Sheet]:
    """Yield where the contradicted statement is among the candidates of the later one."""
    pairs = [pair for pair in own if pair.label == sets.CONTRADICTION]
    turns = [pair for pair in pairs if pair.group == "turn"]
    others = [statement for group in chats for statement in group][:1_000]
    others += [pair.a for pair in own if pair.label != sets.CONTRADICTION]

    def vectors(statement: Statement, pool: Sequence[Statement]) -> Vectors:
        assert of is not None
        return of.of([statement.text])[0], of.of([one.text for one in pool])

    rows = []
    for name, chosen in (("all", pairs), ("long turns", turns)):
        for by in ("words", "words and meaning"):
            if by == "words" or of is not None:
                found = measure.counterparts(chosen, others, None if by == "words" else vectors)
                shares = (f"{found[depth]:.3f}" for depth in measure.DEPTHS)
                rows.append((f"{name}, {by}", f"{len(chosen)}", *shares))
    columns = ("", "statements", *(f"among {depth}" for depth in measure.DEPTHS))
    note = f"Searched among the earlier statements of all pairs and {len(others):,} others."
    yield Sheet("contradictions-candidates", "Counterparts", columns, rows, note)


def speed_sheets(own: Sequence[Labelled], chats: Sequence[Sequence[Statement]]) -> Iterator[Sheet]:
    """Yield CPU times of both stages, of texts that are new and of texts that were read."""
    turns = [statement for group in chats for statement in group]
    many = [
        Statement(f"{turns[n % len(turns)].text} ({n})" if n >= len(turns) else turns[n].text)
        for n in range(MANY)
    ]
    rows = [
        (
            name,
            f"{measure.microseconds(own, known=known):.0f}",
            f"{measure.milliseconds(own[0].b, many, known=known):.0f}",
        )
        for name, known in (("new texts", False), ("texts that were read", True))
    ]
    columns = ("", "detect, us a pair", f"candidates of {MANY:,}, ms")
    yield Sheet("contradictions-speed", "CPU time", columns, rows)
