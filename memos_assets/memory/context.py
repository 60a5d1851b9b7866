"""Context: what is remembered about a question, as a text for a model, within a budget of tokens.

Each memory is a line that cites it (id, source, dates) and its text, indented, so that no text can
pass for a citation. Two memories that contradict each other are shown together, and named as open.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.orm import Session

from memos_assets.errors import AgentError
from memos_assets.memory.acting import acting_of
from memos_assets.memory.arrays import bigints
from memos_assets.memory.moments import Moment, moment, time_condition
from memos_assets.memory.prepared import Asked
from memos_assets.memory.recall import recall
from memos_assets.memory.splitting import pieces
from memos_assets.postgres.schema.agent import links, memories

#: Memories that are looked at; as many as fit are shown.
MOST_MEMORIES: Final = 50
FEWEST_TOKENS: Final = 64
_CUT: Final = " [cut]"


@dataclass(frozen=True, slots=True)
class _Cited:
    """A memory as it is cited."""

    number: int
    id: str
    content: str
    source: str
    valid_from: datetime | None
    valid_until: datetime | None
    recorded_at: datetime

    @property
    def heading(self) -> str:
        since = "" if self.valid_from is None else f", true since {_date(self.valid_from)}"
        until = "" if self.valid_until is None else f", until {_date(self.valid_until)}"
        recorded = f", recorded {_date(self.recorded_at)}"
        # A source of several lines would begin one that passes for a citation.
        source = " ".join(self.source.split())
        return f"[{self.id}] from {source}{since}{until}{recorded}:"


def tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four letters of a word, digit, sign and line.

    It does not depend on a model, and is above what tokenizers of today count for prose.
    """
    return int(pieces(text)) + text.count("\n")


def context(
    session: Session,
    asked: Asked,
    max_tokens: int = 1_500,
    *,
    as_of: Moment | None = None,
    known_at: Moment | None = None,
) -> str:
    """Return what is remembered about a question as a text, the best first.

    A memory that does not fit is left out, and the last line says how many were. The first one is
    cut, and marked so, where not even that fits.

    Args:
        session: the caller's.
        asked: from `Memory.query`.
        max_tokens: of the whole text, as `tokens` counts, `FEWEST_TOKENS` at least.
        as_of: as `recall`.
        known_at: as `recall`.

    Returns:
        The text; "" where nothing is remembered about the question.

    Raises:
        AgentError: as `recall`; M732 a budget that is too small.
    """
    if not isinstance(max_tokens, int) or max_tokens < FEWEST_TOKENS:
        raise AgentError(
            "M732",
            f"max_tokens is {max_tokens!r}, {FEWEST_TOKENS} is the least",
            where="context",
            fix="pass a number of tokens that a citation and its text fit in",
        )
    hits = recall(session, asked, MOST_MEMORIES, as_of=as_of, known_at=known_at)
    found = [
        _Cited(h.number, h.id, h.content, h.source, h.valid_from, h.valid_until, h.recorded_at)
        for h in hits
    ]
    against = _contradictions(
        session, [hit.number for hit in hits], moment(as_of, "as_of"), moment(known_at, "known_at")
    )
    return _composed(_units(found, against), max_tokens)


def _units(
    found: Sequence[_Cited], against: Mapping[int, Sequence[_Cited]]
) -> list[tuple[int, str]]:
    """Return texts that are shown whole or not at all, each with its count of memories."""
    shown: set[int] = set()
    units: list[tuple[int, str]] = []
    for one in found:
        if one.number in shown:
            continue
        others = [other for other in against.get(one.number, ()) if other.number not in shown]
        shown |= {one.number, *(other.number for other in others)}
        blocks = [_block(one)]
        for other in others:
            blocks.append(f"Open contradiction: [{one.id}] and [{other.id}] cannot both be true.")
            blocks.append(_block(other))
        units.append((1 + len(others), "\n".join(blocks)))
    return units


def _composed(units: Sequence[tuple[int, str]], max_tokens: int) -> str:
    total = sum(count for count, _ in units)
    # The line about those that were left out fits in any case.
    room = max_tokens - tokens(_left_out(total) + "\n")
    chosen: list[str] = []
    shown = 0
    for count, text in units:
        cost = tokens(text + "\n")
        if cost <= room:
            chosen.append(text)
            room -= cost
            shown += count
    if units and not chosen:
        chosen.append(_cut(units[0][1], room))
        shown = 1
    if shown < total:
        chosen.append(_left_out(total - shown))
    return "\n".join(chosen)


def _left_out(count: int) -> str:
    return f"{count} more memories did not fit."


def _cut(text: str, room: int) -> str:
    """Return the beginning of a text that fits, to the end of a word, and marked."""
    least, most = 0, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        fits = tokens(text[:middle] + _CUT + "\n") <= room
        least, most = (middle, most) if fits else (least, middle - 1)
    beginning = text[:least]
    return (beginning.rsplit(" ", 1)[0] if " " in beginning else beginning) + _CUT


def _block(one: _Cited) -> str:
    indented = "\n".join(f"  {line}" for line in one.content.splitlines() if line.strip())
    return f"{one.heading}\n{indented}"


def _date(at: datetime) -> str:
    midnight = (at.hour, at.minute, at.second, at.microsecond) == (0, 0, 0, 0)
    return at.date().isoformat() if midnight else at.isoformat(timespec="seconds")


def _contradictions(
    session: Session,
    numbers: Iterable[int],
    as_of: datetime | None,
    known_at: datetime | None,
) -> dict[int, list[_Cited]]:
    """Return number -> memories that contradict it and are true at the same moments."""
    listed = sorted(numbers)
    if not listed:
        return {}
    given = {
        name: value
        for name, value in (("as_of", as_of), ("known_at", known_at))
        if value is not None
    }
    names = {name: sql.SQL("cast(:{} as timestamptz)").format(sql.SQL(name)) for name in given}
    hit = sa.any_(bigints(listed))
    m = memories.alias("m")
    one, other = links.c.a, links.c.b
    pairs = sa.union_all(
        *(
            sa.select(here.label("here"), there.label("there")).where(
                links.c.type == "contradicts", here == hit
            )
            for here, there in ((one, other), (other, one))
        )
    ).subquery()
    statement = (
        sa.select(
            *(pairs.c.here, m.c.number, m.c.id, m.c.content, m.c.source),
            *(m.c.valid_from, m.c.valid_until, m.c.recorded_at),
        )
        .join(m, m.c.number == pairs.c.there)
        .where(
            m.c.space_id == sa.any_(bigints(acting_of(session).readable)),
            sa.text(time_condition(sql.SQL("m"), **names).as_string()),
        )
        .order_by(pairs.c.here, m.c.number)
    )
    found: dict[int, list[_Cited]] = {}
    for row in session.execute(statement, given):
        found.setdefault(row.here, []).append(
            _Cited(
                *(row.number, str(row.id), row.content, row.source),
                *(row.valid_from, row.valid_until, row.recorded_at),
            )
        )
    return found
