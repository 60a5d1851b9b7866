"""The command `search`: find the rows of one or of all tables that are nearest to text or a row."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from memos_assets.catalog import MEMOS
from memos_assets.cli.display import console
from memos_assets.cli.hits import hits_table, pattern_of
from memos_assets.cli.json_output import write_json
from memos_assets.cli.options import JsonFile
from memos_assets.consolidate.sources.registry import source_named
from memos_assets.errors import UsageError
from memos_assets.postgres.storable_text import storable_text
from memos_assets.postgres.target import open_consolidated
from memos_assets.report.formatting import plural
from memos_assets.search.across_tables import (
    Answer,
    Mode,
    Question,
    ask_all,
    is_empty,
    questions_from_row,
    questions_from_text,
    tables_for_text,
)
from memos_assets.search.searchable import searchable
from memos_assets.settings import load_settings

#: Hits that are shown of one table, and of each where every table is searched.
_HITS, _HITS_OF_EACH = 10, 3
_NO_WORD = (
    "the text has no word that full-text search looks for, only stop words or signs: "
    "rows are found by meaning alone"
)


def search(
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="Words, codes, or a sentence.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option("--table", metavar="TABLE", help="Only this table; else each that fits."),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option("--k", metavar="K", help="Hits: 1 to 1000; 10, or 3 of each of all tables."),
    ] = None,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", help="By words, by meaning (needs MEMOS_EMBEDDER), or by both."),
    ] = None,
    source: Annotated[
        str | None, typer.Option("--source", metavar="NAME", help="Only rows of this source.")
    ] = None,
    metadata_filter: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="JSON", help="Only rows whose metadata contain this object."
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", metavar="KEY", help="Rows near to this one, by its stored embedding."
        ),
    ] = None,
    json_file: JsonFile = None,
) -> int:
    """Find rows by words, by meaning, by both, or near to another row."""
    only = searchable(table.removeprefix("memos."), MEMOS.searchable) if table else None
    by_default: Mode = "vector" if like or (only and not only.text_index) else "hybrid"
    question = Question(
        text=_text(text, like, mode),
        mode=mode or by_default,
        k=k if k is not None else _HITS if table else _HITS_OF_EACH,
        source=source,
        filters=_object(metadata_filter),
    )
    settings = load_settings()
    like = None if like is None else storable_text(like)
    with open_consolidated(settings, "memos_assets:search") as engine:
        with engine.connect() as conn:
            if source is not None and (only is None or only.owner == "source"):
                source_named(conn, MEMOS.kinds, source)
            tables = tables_for_text(conn, question, MEMOS.searchable, only) if like is None else []
        asked, notes = (
            questions_from_text(tables, question, only, settings) if like is None else ([], [])
        )
        with engine.connect() as conn:
            if like is not None:
                asked = questions_from_row(conn, question, like, MEMOS.searchable, only)
            answers, refused = ask_all(conn, asked, alone=only is not None)
            notes += refused
            stems = _stems(conn, question.text)
            if not stems and any(answer.mode == "hybrid" for answer in answers):
                notes.append(_NO_WORD)
            empty = [a.table.name for a in answers if not a.hits and is_empty(conn, a.table)]
    if str(json_file) != "-":
        _print(answers, notes, question, stems, empty)
    write_json(
        json_file,
        {
            "text": question.text or None,
            "like": like,
            "notes": notes,
            "answers": [answer.as_json() for answer in answers],
        },
    )
    return 0


def _text(text: str | None, like: str | None, mode: Mode | None) -> str:
    """Return the text that is searched for, ``""`` where the query is a row.

    Raises:
        UsageError: M574 the text is empty; M582 there is no query, or there are two.
    """
    if like is not None:
        if text is not None or mode not in (None, "vector"):
            other = "TEXT" if text is not None else f"--mode {mode}"
            raise UsageError(
                "M582",
                f"--like and {other} are mutually exclusive",
                where="search",
                fix="leave one of them out; --like compares embeddings alone",
            )
        return ""
    if text is None:
        raise UsageError(
            "M582",
            "nothing to search for",
            where="search",
            fix="memos-assets search TEXT, or search --like KEY",
        )
    if not text.strip():
        raise UsageError("M574", "an empty text", where="search", fix="pass some words")
    return storable_text(text)


def _object(given: str | None) -> Mapping[str, Any] | None:
    """Return the object of `--filter`.

    Raises:
        UsageError: M583 the value is not a JSON object.
    """
    if given is None:
        return None
    try:
        content = json.loads(given)
        # Python reads NaN, Infinity, lone surrogates and NUL, which PostgreSQL's JSON refuses.
        written = json.dumps(content, allow_nan=False, ensure_ascii=False).encode()
        if b"\\u0000" in written:
            raise ValueError("a text contains a NUL character")
    except (ValueError, RecursionError) as error:
        what = f"the value is not JSON ({error})"
    else:
        if isinstance(content, dict) and content:
            return content
        what = "the value is JSON, but not an object with a key"
    raise UsageError(
        "M583", what, where="--filter", fix="""write --filter '{"severity": "warn"}'"""
    )


def _stems(conn: sa.Connection, text: str) -> list[str]:
    """Return the words of a text as the text search compares them."""
    words: list[str] | None = conn.scalar(
        sa.text("select tsvector_to_array(to_tsvector('pg_catalog.english', left(:text, 10000)))"),
        {"text": text},
    )
    return words or []


def _print(
    answers: Sequence[Answer],
    notes: Sequence[str],
    question: Question,
    stems: Sequence[str],
    empty: Sequence[str],
) -> None:
    pattern = pattern_of(question.text, stems) if question.text else None
    for note in notes:
        console.print(f"Note: {note}.", markup=False, soft_wrap=True)
    for answer in answers:
        if not answer.hits:
            continue
        title = None if len(answers) == 1 else answer.table.name
        console.print(hits_table(answer, pattern, title=title, width=console.width))
        console.print(_line(answer), markup=False, soft_wrap=True)
    without = [answer for answer in answers if not answer.hits]
    if len(answers) == 1 and without:
        console.print(_line(without[0]), markup=False, soft_wrap=True)
    if not without:
        return
    console.print(
        f"Nothing found in {', '.join(answer.table.name for answer in without)}."
        + _advice(answers, question, empty),
        markup=False,
        soft_wrap=True,
    )


def _line(answer: Answer) -> str:
    how = {"text": "by words", "vector": "by vector", "hybrid": "by words and vector"}
    return (
        f"{answer.table.name}: {plural(len(answer.hits), 'hit')} {how[answer.mode]}, k {answer.k}, "
        f"{answer.served}, {answer.milliseconds:.1f} ms"
    )


def _advice(answers: Sequence[Answer], question: Question, empty: Sequence[str]) -> str:
    """Return advice for a search that found nothing."""
    if len(empty) == len(answers):
        return " Nothing is loaded there: memos-assets consolidate --data DIR"
    if any(answer.hits for answer in answers):
        return ""
    if question.filters or question.source:
        return " Try it without --filter and --source."
    if question.mode == "vector":
        return " No row there, or no other one, has an embedding of this dimension."
    return " Try fewer or other words, or rows near to one you know: --like KEY"
