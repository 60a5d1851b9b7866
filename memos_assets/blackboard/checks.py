"""V57 to V61, V67: boards replay to their state; what they know reaches syntheses and memory."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from memos_assets.blackboard import opening, reading, views
from memos_assets.blackboard.reading import Entry, State
from memos_assets.blackboard.records import DECISIONS
from memos_assets.blackboard.requests import (
    CONTRADICTIONS,
    FINDINGS,
    PROMOTIONS,
    SEARCHES,
    SYNTHESES,
    slot,
)
from memos_assets.catalog import Catalog
from memos_assets.check import AnyCheck, Check, CheckContext, Judge, Subject, by_connection
from memos_assets.finding import Finding
from memos_assets.postgres.schema.agent import memories
from memos_assets.postgres.schema.agent_board import board_entries, board_events, boards
from memos_assets.postgres.user_rows import ERASED

#: Boards that are replayed, the newest ones, and problems that are shown.
_MOST, _SHOWN = 500, 10
_b, _e, _v = boards.c, board_entries.c, board_events.c


@dataclass(frozen=True, slots=True)
class Replayed:
    """A board beside its events.

    Attributes:
        board: its id.
        left_out: what is wrong with the numbers of its events; "" where they are whole.
        is_state: whether its state is the one that they lead to; nothing more is read without.
        counted: level -> entries that they lead to.
        shown: level -> entries that its stats show.
    """

    board: UUID
    left_out: str
    is_state: bool = False
    counted: Mapping[str, int] = field(default_factory=dict)
    shown: Mapping[str, int] = field(default_factory=dict)


def replayed(conn: sa.Connection) -> list[Replayed]:
    """Replay the newest boards."""
    rows = conn.execute(sa.select(_b.id, _b.number).order_by(_b.number.desc()).limit(_MOST)).all()
    return [_replayed(conn, board, number) for board, number in rows]


def _replayed(conn: sa.Connection, board: UUID, number: int) -> Replayed:
    if fault := _left_out(conn, number):
        return Replayed(board, fault)
    replay = reading.replay(conn, board, expired=True)
    return Replayed(
        board,
        "",
        reading.same(reading.live(conn, board, expired=True), replay),
        Counter(entry.level for entry in replay.entries),
        opening.stats(conn, board)["entries"],
    )


def replay_equals_state(found: Sequence[Replayed]) -> Finding:
    """V57: the state of each board is what its events say, and no number is left out."""
    wrong = [
        f"{one.board}: {one.left_out or 'the state is not that of its events'}"
        for one in found
        if not one.is_state
    ]
    return Finding(
        not wrong,
        "events from 1 to the last without a gap, and the state that they lead to, on each board",
        "; ".join(wrong[:_SHOWN]) or f"so on {len(found):,} boards",
        evidence={"boards": len(found), "wrong": wrong[:_SHOWN]},
    )


def _left_out(conn: sa.Connection, board: int) -> str:
    """Return that the events of a board are not those of 1 to the last, "" where they are."""
    count, last = conn.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.max(_v.seq), 0)).where(
            _v.board == board
        )
    ).one()
    return "" if count == last else f"{count:,} events up to {last:,}"


_SEARCHED: Final = sa.text(
    """
    select count(*), count(*) filter (where not recorded), array_agg(distinct id::text)
        filter (where not recorded)
    from (
        select b.id, exists (
            select from agent.board_entries f where f.board = b.number and f.level = :findings
                and f.value->>'search' = s.key) as recorded
        from agent.boards b join agent.board_entries s on s.board = b.number
        where s.level = :searches and (s.value->>'hits')::bigint > 0
            and (b.state <> 'open' or s.at < now() - interval '1 hour')
            -- The finding may have been that of a user who was erased.
            and not exists (select from agent.board_events v
                where v.board = b.number and v.user_id = :erased)) searched
    """
)


def searches_recorded_findings(conn: sa.Connection, _: None) -> Finding:
    """V58: every search that had hits recorded a finding."""
    values = {"findings": FINDINGS, "searches": SEARCHES, "erased": ERASED}
    count, without, where = conn.execute(_SEARCHED, values).one()
    return Finding(
        without == 0,
        "a finding of each search that had hits, of boards that are complete and after an hour",
        f"{without:,} of {count:,} searches recorded none",
        evidence={"searches": count, "without": without, "boards": (where or [])[:_SHOWN]},
    )


def _entries(conn: sa.Connection, level: str) -> Sequence[Any]:
    columns = (_b.id, _b.number, _e.key, _e.seq, _e.value)
    return conn.execute(
        sa.select(*columns)
        .join(board_entries, _e.board == _b.number)
        .where(_e.level == level)
        .order_by(_b.number, _e.seq)
    ).all()


def _known(conn: sa.Connection, board: int, seq: int, *levels: str) -> State:
    """Return contradictions, decisions and more levels after an event, from a board's events."""
    entries: dict[tuple[str, str], Entry] = {}
    rows = conn.execute(
        sa.select(_v.level, _v.key, _v.value, _v.version, _v.seq, _v.at, _v.user_id, _v.agent_id)
        .where(
            _v.board == board,
            _v.seq <= seq,
            _v.level.in_([CONTRADICTIONS, DECISIONS, *levels]),
            _v.value.is_not(None),
        )
        .order_by(_v.seq)
    )
    for level, key, value, version, number, at, user, agent in rows:
        entry = Entry(level, key, "", value, version, number, at, user, agent, "", None)
        entries[level, key] = entry
    # A decision whose writer was erased: nobody can tell any more whether it was open.
    erased = conn.execute(
        sa.select(_v.slot).where(_v.board == board, _v.seq <= seq, _v.user_id == ERASED)
    ).scalars()
    gone = set(erased)
    if gone:
        for level, key in list(entries):
            if level == CONTRADICTIONS and slot(DECISIONS, key) in gone:
                del entries[level, key]
    return State(seq, None, tuple(entries.values()))


def syntheses_name_contradictions(conn: sa.Connection, _: None) -> Finding:
    """V59: each synthesis names every contradiction that was open, from its threshold on."""
    found = _entries(conn, SYNTHESES)
    wrong, named = [], 0
    for row in found:
        state = _known(conn, row.number, row.seq)
        open_ones = views.open_contradictions(state, row.value["threshold"])
        left_out = [one for one in open_ones if one.key not in row.value["contradictions"]]
        named += len(open_ones) - len(left_out)
        if left_out:
            wrong.append(f"{row.id} event {row.seq}: {len(left_out):,} left out")
    return Finding(
        not wrong,
        "every contradiction that was open, from the threshold on, in each synthesis",
        "; ".join(wrong[:_SHOWN]) or f"{named:,} named in {len(found):,} syntheses",
        evidence={"syntheses": len(found), "named": named, "wrong": wrong[:_SHOWN]},
    )


def memory_grew_with_promotions(conn: sa.Connection, _: None) -> Finding:
    """V60: every promoted finding is a memory."""
    found = _entries(conn, PROMOTIONS)
    named = {row.value["memory"] for row in found}
    there = set(
        map(
            str,
            conn.execute(
                sa.select(memories.c.id).where(memories.c.id.in_(list(map(UUID, named))))
            ).scalars(),
        )
    )
    missing = sorted({str(row.id) for row in found if row.value["memory"] not in there})
    return Finding(
        not missing,
        f"{len(named):,} memories of {len(found):,} promoted findings",
        f"{len(named & there):,} memories",
        evidence={"promotions": len(found), "boards with missing memories": missing[:_SHOWN]},
    )


def no_contradicted_promotions(conn: sa.Connection, _: None) -> Finding:
    """V61: no finding was promoted while a contradiction of it was open."""
    found = _entries(conn, PROMOTIONS)
    wrong = []
    for row in found:
        state = _known(conn, row.number, int(row.value["known"]), FINDINGS)
        finding: Mapping[str, Any] | None = state.values(FINDINGS).get(row.key)
        if finding is not None and views.contradicting(state, finding):
            wrong.append(f"{row.id} event {row.seq}")
    return Finding(
        not wrong,
        "no open contradiction of a finding when it was promoted",
        "; ".join(wrong[:_SHOWN]) or f"none of {len(found):,} promotions",
        evidence={"promotions": len(found), "wrong": wrong[:_SHOWN]},
    )


def stats_show_usage(found: Sequence[Replayed]) -> Finding:
    """V67: what a board says of its use is what its events count."""
    wrong, used = [], Counter[str]()
    for one in found:
        used.update(one.counted)
        fault = one.left_out
        if one.shown != one.counted:
            fault = f"{one.shown} is shown, and the events lead to {dict(one.counted)}"
        if fault:
            wrong.append(f"{one.board}: {fault}")
    return Finding(
        not wrong,
        "as many entries of each level as the events of each board lead to",
        "; ".join(wrong[:_SHOWN])
        or f"{used.total():,} entries on {len(found):,} boards, "
        f"{used[FINDINGS]:,} of them findings",
        evidence={"boards": len(found), "entries": dict(used), "wrong": wrong[:_SHOWN]},
    )


def _read(context: CheckContext, _: None) -> list[Replayed]:
    with context.engine.connect() as conn:
        return replayed(conn)


def _by_replays(judge: Callable[[Sequence[Replayed]], Finding]) -> Judge[None]:
    """Return the judge that hands over boards which are replayed once for all that ask."""
    return lambda context, value: judge(context.read_once(_read, value))


def boards_asset(catalog: Catalog) -> Iterator[Subject[None]]:
    """Yield the asset of boards, on which checks of boards are shown."""
    if catalog.application:
        yield Subject(catalog.names.agent("boards"), None, "board_checks")


_WHERE: Final = "`memos/agent/boards`"
CHECKS: tuple[AnyCheck, ...] = (
    Check(
        number=57,
        name="v57_replay_equals_state",
        title="The state of each board is the one that its events lead to, without a missing "
        "number.",
        fix="compare agent.board_append with its revision; rows were written without it",
        where=_WHERE,
        reads="`agent.boards`, all events and entries of the 500 newest boards",
        when_failed="Somebody wrote to `agent.board_events` or `agent.board_entries` beside "
        "`agent.board_post`. What agents read is not what was posted. The archive is not written "
        "for such a board.",
        subjects=boards_asset,
        judge=_by_replays(replay_equals_state),
        group="boards",
    ),
    Check(
        number=58,
        name="v58_searches_recorded_findings",
        title="Every search that had hits recorded a finding on its board.",
        fix="call add_finding with of_search for what a search found, one by one",
        where=_WHERE,
        reads="searches and findings in `agent.board_entries`, of boards that are complete, and "
        "searches older than an hour",
        when_failed="An agent searched, and what it found is lost to the others. The evidence "
        "names the boards.",
        subjects=boards_asset,
        judge=by_connection(searches_recorded_findings),
        group="boards",
    ),
    Check(
        number=59,
        name="v59_syntheses_name_open_contradictions",
        title="Every open contradiction above the threshold is named in the synthesis of its "
        "board.",
        fix="write the synthesis again with both sides named: Board.add_synthesis refuses others",
        where=_WHERE,
        reads="syntheses, and events of contradictions and decisions before each of them",
        when_failed="A reader was told one side of a contradiction alone. The synthesis was "
        "posted without `add_synthesis`, which refuses it.",
        subjects=boards_asset,
        judge=by_connection(syntheses_name_contradictions),
        group="boards",
    ),
    Check(
        number=60,
        name="v60_memory_grew_with_promotions",
        title="Every finding that was promoted is a memory.",
        fix="remember the findings again: promotions are posted in the transaction of the memory",
        where=_WHERE,
        reads="promotions in `agent.board_entries`, ids in `agent.memories`",
        when_failed="A promotion names a memory that is not there: it was deleted, or the "
        "promotion was posted in another transaction than the memory. A user who is erased takes "
        "their promotions along.",
        subjects=boards_asset,
        judge=by_connection(memory_grew_with_promotions),
        group="boards",
    ),
    Check(
        number=61,
        name="v61_no_promotion_with_an_open_contradiction",
        title="No finding was promoted while a contradiction of it was open.",
        fix="decide on the contradiction, and retract the memory if the finding is wrong",
        where=_WHERE,
        reads="promotions, and events of findings, contradictions and decisions until the one that "
        "was known at the promotion",
        when_failed="Memory holds a statement that the board knew to be contradicted. The "
        "promotion was posted without `Board.promote`, which refuses it.",
        subjects=boards_asset,
        judge=by_connection(no_contradicted_promotions),
        group="boards",
    ),
    Check(
        number=67,
        name="v67_board_stats_show_usage",
        title="What the stats of a board show of its use is what its events count.",
        fix="compare agent.board_append with its revision; rows were written without it",
        where=_WHERE,
        reads="the stats that HTTP serves, and all events, of the 500 newest boards",
        when_failed="The remediation plan's line *Scratchpad stats show usage*. An operator is "
        "told of findings that no event wrote, or not told of some. `v57` names what differs.",
        subjects=boards_asset,
        judge=_by_replays(stats_show_usage),
        group="boards",
    ),
)
