"""The command `ask`: a question through the research pipeline, with its sources."""

import asyncio
from typing import Annotated

import typer

from memos_assets.cli.display import console, errors
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.cli.person import who
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.research import Answer, Budget, Event
from memos_assets.research.events import PhaseFinished
from memos_assets.research.facade import K
from memos_assets.research.sync_facade import open_research
from memos_assets.research.synthesis import EXTRACTIVE, cited
from memos_assets.settings import Settings, load_settings
from memos_assets.sqlite.printable import printable

_DEFAULT = Budget()
#: What finished phases are called at a terminal.
_COUNTED = {"search": "passage", "findings": "finding", "contradictions": "contradiction"}


def ask(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In your words.")],
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="ID", help="Whose memory. Default: who runs the command."),
    ] = None,
    agent: Annotated[
        str, typer.Option("--agent", metavar="ID", help="The agent that asks for the user.")
    ] = "",
    space: Annotated[
        list[str] | None,
        typer.Option("--space", metavar="NAME", help="Recall from this shared space, too."),
    ] = None,
    k: Annotated[
        int, typer.Option("--k", metavar="K", help="Hits of each table, and memories: 1 to 50.")
    ] = K,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="After which no model is waited for.")
    ] = _DEFAULT.seconds,
    tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", help="Of the answer, at most.")
    ] = _DEFAULT.tokens,
    fresh: Annotated[  # noqa: FBT002  a flag at the terminal
        bool, typer.Option("--fresh", help="Compute again though the cache has an answer.")
    ] = False,
    json_file: JsonFile = None,
) -> int:
    """Answer a question from corpora and memory, with sources and open contradictions."""
    about = {
        "user": who() if user is None else user,
        "agent": agent,
        "spaces": space or [],
        "k": k,
        "budget": Budget(seconds, tokens),
        "fresh": fresh,
    }
    settings = load_settings()
    with open_consolidated(settings, "memos_assets:ask"):
        answer = asyncio.run(_answered(settings, question, about))
    if str(json_file) != "-":
        _print(answer)
    write_json(json_file, answer.as_json())
    return 0


async def _answered(settings: Settings, question: str, about: dict[str, object]) -> Answer:
    async with open_research(settings) as research:
        return await research.ask(question, tell=_show, **about)


def _show(event: Event) -> None:
    """Show a phase that ended on standard error, where that is a terminal."""
    if not errors.is_terminal or not isinstance(event, PhaseFinished):
        return
    counted = _COUNTED.get(event.phase)
    said = "" if counted is None else f": {plural(event.count, counted)}"
    resumed = " (of the run before)" if event.resumed else ""
    errors.print(f"{event.phase}{said}, {event.seconds * 1_000:.0f} ms{resumed}", style="dim")


def _print(answer: Answer) -> None:
    for one in answer.sentences:
        _line(cited(one.text, one.cites))
    if not answer.found:
        _line("Nothing was found.")
    if answer.contradictions:
        console.print("\n[yellow]Open contradictions[/]")
    for opposed in answer.contradictions:
        _line(f'"{opposed.a}" [{opposed.source_a}]', before="  ")
        _line(f'against "{opposed.b}" [{opposed.source_b}] ({opposed.kind})', before="    ")
    if answer.sources:
        console.print("\nSources")
    for source in answer.sources:
        also = f", and {plural(len(source.also), 'other')} alike" if source.also else ""
        _line(f"[{source.number}] {source.source} (confidence {source.confidence:.2f}{also})")
    if answer.remembered and answer.origin == "computed":
        console.print("\nRemembered")
    for kept in answer.remembered if answer.origin == "computed" else ():
        text = " ".join(kept.text.split())
        _line(f"{kept.memory}: {text if len(text) <= 80 else text[:79] + '…'}", before="  ")
    console.print()
    for note in answer.notes:
        _line(f"Note: {note}")
    _line(_origin(answer))


def _line(text: str, *, before: str = "") -> None:
    console.print(before + printable(" ".join(text.split())), markup=False)


def _origin(answer: Answer) -> str:
    """Return where the answer is from, in a sentence."""
    if answer.origin != "computed":
        of = "" if answer.matched is None else f', of the question "{answer.matched}"'
        return f"From the cache, {answer.age:.0f} s old{of}. Board {answer.board}."
    again = f" again, because {answer.recomputed}" if answer.recomputed else ""
    by = "sentences of the sources" if answer.written_by == EXTRACTIVE else answer.written_by
    seconds = sum(answer.phases.values())
    return f"Computed{again} in {seconds:.2f} s, written by {by}. Board {answer.board}."
