"""Sentences of a text that somebody asserts: no code, no quotation, no question, no plan.

Offsets stay those of the text: what is left out is replaced by as many spaces.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from memos_assets.contradictions.lists import Lists, lists, words_in
from memos_assets.language.reading import language_of

#: Characters of a text that are read, and sentences of it: a text is a statement, not a book.
MOST_CHARACTERS: Final = 4_000
MOST_SENTENCES: Final = 40
MOST_WORDS: Final = 60
_KEPT_TEXTS: Final = 20_000
#: Characters of a text that tell its language.
_MOST_TOLD: Final = 400

_FENCE: Final = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)", re.DOTALL)
_INLINE: Final = re.compile(r"`[^`\n]*[^\w`\n.-][^`\n]*`")
_MARKUP: Final = re.compile(r"<[/!]?[a-zA-Z][^<>\n]{0,200}>|\[(?:photo|image)[^\]]*\]|https?://\S+")
_QUOTED: Final = re.compile(
    r"\"[^\"\n]{1,400}\"|\u201c[^\u201d\n]{1,400}\u201d|\u201e[^\u201c\u201d\n]{1,400}[\u201c\u201d]"
    r"|\u00ab[^\u00bb\n]{1,400}\u00bb|(?<!\w)'[^'\n]{1,400}'(?!\w)|(?<!\w)\u2018[^\u2019\n]{1,400}\u2019(?!\w)"
)
#: A line of a program, of a log, of data, or of a command.
_CODE_LINE: Final = re.compile(
    r"^(?:\t| {4,}(?![-*\d]))"
    r"|[{};\\]\s*$|^\s*[}\])]+|=>|==|!=|::|->|&&|\|\||\+=|<-|/\*|\*/"
    r"|^\s*(?://|#\s?(?:include|define|!)|>>>|\$ |%|@\w+\()"
    r"|^\s*(?:def|class|import|from\s+[\w.]+\s+import|return|elif|else:|try:|except|finally:|raise|assert|lambda"
    r"|function|const|let|var|public|private|static|void|int|SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP"
    r"|FROM|WHERE|echo|sudo|pip|npm|git|docker|curl|cd|export|print)\b"
    r"(?=.*[=(){}\[\];:/*'\"]|\s+[A-Z_]+\b|\s+-|\s*$)"
    r"|^\s*(?:if|for|while|with)\b.*:\s*$"
    r"|^\s*[\w.\[\]'\"]+(?:\s*:\s*[\w\[\]., ]+)?\s*[-+*/|]?=\s*\S"
    r"|\b[\w.]+\((?:[^()\s]*|[^()]*=[^()]*)\)"
    r"|^\s*[\"']?[\w.-]+[\"']?\s*:\s*[\"'\[{\d]|^\s*[A-Z_]{3,}\s*:|\w+\[\w*\]|\b\w+_\w+\b.*\b\w+_\w+\b"
    r"|^\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d|^Traceback|^\s*File \"|^\s*at \w+\.|^\s*\|.*\|"
    r"|^\s*[-=*_#]{3,}\s*$|\$[A-Za-z_]\w*|\\[a-z]+\{"
)
_QUOTATION_LINE: Final = re.compile(r"^\s*>")
_AND: Final = frozenset({"and", "und"})
#: Words after ", and" that make it a clause, and not the last of a list.
_CLAUSE_WORDS: Final = 4
_LINE: Final = re.compile(r"[^\n]+")
#: The end of a sentence; "5. März", "z. B.", "Dr. X" and "2.5" are none.
_ABBREVIATED: Final = (
    r"(?<![\s.][A-Za-z])(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bSt)(?<!\bNr)(?<!\bvs)(?<!\bca)"
    r"(?<!\be\.g)(?<!\bi\.e)(?<!\bbzw)(?<!\busw)"
)
_OTHER_ENDS: Final = r"|[!?]+|;|\u2026|(?<=\w):(?=\s)|\s[\u2013\u2014-]{1,2}\s"
_ENDS: Final = {
    "en": re.compile(rf"{_ABBREVIATED}\.(?=[\s\"')\]]|$){_OTHER_ENDS}"),
    "de": re.compile(
        rf"{_ABBREVIATED}(?<!\d)\.(?=[\s\"')\]]|$)|(?<=\d)\.(?=\s*$|\s+(?:Es|Er|Sie|Wir|Ich|Das|Die|Der"
        rf"|In|Im|Am|Und|Aber|Dann|Danach)\b){_OTHER_ENDS}"
    ),
}
_SPEAKER: Final = re.compile(
    r"^\s*(?:[-*\u2022]\s+|\d{1,2}[.)]\s+)?(?:([A-Z][\w.-]{1,30}(?: [A-Z][\w.-]{1,30})?): )?"
)


class Sentence(NamedTuple):
    """A sentence or clause that is asserted.

    Attributes:
        start: its offset in the text.
        text: as it is in the text, without what is left out.
        lists: of its language.
        speaker: who says it, where its line begins with a name; "" otherwise.
        words: of it, in lower case.
    """

    start: int
    text: str
    lists: Lists
    speaker: str
    words: frozenset[str]


@lru_cache(maxsize=_KEPT_TEXTS)
def asserted(text: str, language: str | None = None) -> tuple[Sentence, ...]:
    """Return the sentences of a text that its author stands for.

    Args:
        text: of it, the first `MOST_CHARACTERS` are read.
        language: of the text; None: detected.
    """
    found: list[Sentence] = []
    for sentence in _sentences(text[:MOST_CHARACTERS], language):
        found.append(sentence)
        if len(found) == MOST_SENTENCES:
            break
    return tuple(found)


def _blank(found: re.Match[str]) -> str:
    return " " * len(found[0])


def _sentences(text: str, language: str | None) -> Iterator[Sentence]:
    if "`" in text or "~~~" in text:
        text = _INLINE.sub(_blank, _FENCE.sub(_blank, text))
    if "<" in text or "[" in text or "://" in text:
        text = _MARKUP.sub(_blank, text)
    whole = language or _language(text)
    ends = _ENDS[whole or "en"]
    for line in _LINE.finditer(text):
        read = line[0]
        if _QUOTATION_LINE.match(read) or _CODE_LINE.search(read):
            continue
        if any(sign in read for sign in "\"'\u201c\u201e\u00ab\u2018"):
            read = _QUOTED.sub(_blank, read)
        speaker = _SPEAKER.match(read)
        assert speaker is not None
        start = speaker.end()
        said_by = speaker[1] or ""
        if said_by.lower() in ("note", "update", "fact", "result", "answer"):
            said_by = ""
        while start < len(read):
            end = ends.search(read, start)
            stop = end.end() if end else len(read)
            question = bool(end and "?" in end[0])
            part = read[start : end.start() if end else stop]
            own = language or (_language(part) if whole is None else whole)
            if own is not None:
                yield from _clauses(part, line.start() + start, lists(own), said_by, question)
            start = stop


def _language(text: str) -> str | None:
    """Return the language of a text; "in" alone is English and German, and "wohnt" is not."""
    found = language_of(text.split())
    if found is None:
        return None
    words = set(words_in(text.lower()[:_MOST_TOLD]))
    other = "de" if found == "en" else "en"
    ours, theirs = (
        len(words & (lists(name).known | lists(name).lexicon.function)) for name in (found, other)
    )
    return other if theirs > ours else found


def _clauses(
    part: str,
    start: int,
    words: Lists,
    speaker: str,
    question: bool,  # noqa: FBT001
) -> Iterator[Sentence]:
    lower = part.lower().replace("\u2019", "'")
    if len(lower) != len(part):
        lower = part
    every = frozenset(words_in(lower))
    asked = None if words.asked_heads.isdisjoint(every) else words.asked.search(lower)
    if asked:
        part, lower, question = part[: asked.start()], lower[: asked.start()], False
    elif question:
        return
    for begin, end in pairwise(_borders(lower, words, every)):
        clause, of_clause = part[begin:end], lower[begin:end]
        named = words_in(of_clause)
        if not 2 <= len(named) <= MOST_WORDS or named[0] in words.question:
            continue
        of_it = frozenset(named)
        unasserted = words.unasserted.search(of_clause, of_it)
        # "May" is a month where it has a capital.
        while unasserted and unasserted[0] == "may" and clause[unasserted.start()] == "M":
            unasserted = words.unasserted.search(of_clause, of_it, unasserted.end())
        if unasserted is None:
            yield Sentence(start + begin, clause, words, speaker, of_it)


def _borders(lower: str, words: Lists, every: frozenset[str]) -> list[int]:
    """Return where the clauses of a sentence begin, and where the last one ends."""
    borders = [0]
    for found in words.clause.all(lower, every):
        # German "der" begins a clause only after a comma; "and" joins too often to be one.
        before = lower[: found.start()].rstrip()
        rest = lower[found.start() :].split(",", 1)[0]
        if found[0] in _AND and len(rest.split()) < _CLAUSE_WORDS:
            continue
        if before.endswith(",") or (
            before and found[0] in ("but", "because", "although", "aber", "weil", "obwohl")
        ):
            borders.append(found.start())
    borders.append(len(lower))
    return borders
