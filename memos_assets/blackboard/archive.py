"""Boards as files: archived when they are complete, each once, and proven before they are marked.

A file has a line about the board, and one for each of its events. It is written beside its place
and renamed, read back, and folded to a state that has to be the live one. A compaction writes such
a file first, too: nothing is emptied that is not in a file.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from memos_assets.blackboard import reading
from memos_assets.blackboard.reading import Entry, Event, Head, State
from memos_assets.blackboard.records import DECISIONS
from memos_assets.errors import AgentError
from memos_assets.files import make_private, sha256_of, write_whole
from memos_assets.postgres.schema.agent import spaces
from memos_assets.postgres.schema.agent_board import board_entries, board_events, boards
from memos_assets.postgres.user_rows import ERASED
from memos_assets.settings import Settings

FORMAT: Final = 1
_END: Final = ".jsonl"
_ALL: Final = 2**62
#: What becomes of an erased user's board, and of their events.
_GOAL: Final[dict[str, Any]] = {"goal": ""}
_EMPTY: Final[dict[str, Any]] = {"level": "", "key": "", "item": "", "value": None}
_b, _v, _e = boards.c, board_events.c, board_entries.c


@dataclass(frozen=True, slots=True)
class Archived:
    """A board in the archive.

    Attributes:
        board: id of the board.
        path: of its file.
        events: in it.
        sha256: of the file, in hexadecimal.
    """

    board: UUID
    path: Path
    events: int
    sha256: str


def folder_of(settings: Settings) -> Path:
    """Return the folder of archived boards."""
    return settings.home / "boards"


def complete_boards(conn: sa.Connection, most: int = 1_000) -> list[UUID]:
    """Return the boards that are complete and not archived, the oldest first."""
    statement = sa.select(_b.id).where(_b.state == "complete").order_by(_b.number).limit(most)
    return list(conn.execute(statement).scalars())


def archive(engine: sa.Engine, folder: Path, board: UUID) -> Archived | None:
    """Archive a board that is complete, as the owner of the tables.

    Args:
        engine: of the database.
        folder: of archived boards.
        board: id of the board.

    Returns:
        The archived board; None: it was archived before, or another process does.

    Raises:
        AgentError: M910; M928 the file cannot be written, or is not the live state; M929 the board
            is not complete.
    """
    with engine.begin() as conn:
        found = reading.head(conn, board)
        if found.state == "open":
            raise AgentError(
                "M929",
                "the board is open, and agents may post to it",
                where=f"board {board}",
                fix="complete it first: board.complete()",
            )
        locked = conn.execute(
            sa.select(_b.number)
            .where(_b.id == board, _b.state == "complete")
            .with_for_update(skip_locked=True)
        ).first()
        if locked is None:
            return None
        done = _write(conn, found, folder / f"{board}{_END}")
        conn.execute(
            sa.update(boards)
            .where(_b.number == found.number)
            .values(state="archived", archived_at=sa.func.now(), archive_sha256=done.sha256)
        )
    return done


def archive_all(
    engine: sa.Engine, folder: Path, wanted: Iterable[UUID]
) -> tuple[list[Archived], int, list[AgentError]]:
    """Archive boards and compact them.

    Returns:
        Those that were archived, how many of their events were emptied, and what was refused.
    """
    done: list[Archived] = []
    failed: list[AgentError] = []
    emptied = 0
    for board in wanted:
        try:
            if (made := archive(engine, folder, board)) is not None:
                done.append(made)
                emptied += compact(engine, folder, board)
        except AgentError as error:
            failed.append(error)
    return done, emptied, failed


def compact(engine: sa.Engine, folder: Path, board: UUID) -> int:
    """Empty the events of a board that others overwrote or that have expired; return how many.

    The state stays, and so does every number. Events are written to a file of the archive first.

    Raises:
        AgentError: M910, M928.
    """
    with engine.begin() as conn:
        number = conn.execute(
            sa.select(_b.number).where(_b.id == board).with_for_update(key_share=True)
        ).scalar_one_or_none()
        found = reading.head(conn, board)
        if not _is_archived(found, folder):
            _write(conn, found, folder / f"{board}-{found.seq}{_END}")
        later = board_events.alias()
        overwritten = sa.exists().where(
            later.c.board == _v.board, later.c.slot == _v.slot, later.c.seq > _v.seq
        )
        expired = _v.expires_at <= sa.func.now()
        emptied = conn.execute(
            sa.update(board_events)
            .where(
                _v.board == number,
                _v.value.is_not(None),
                # Checks ask what was decided when a synthesis was written.
                _v.level != DECISIONS,
                sa.or_(overwritten, expired),
            )
            .values(value=sa.null())
        ).rowcount
        conn.execute(
            sa.delete(board_entries).where(_e.board == number, _e.expires_at <= sa.func.now())
        )
        size = sa.func.coalesce(sa.func.sum(sa.func.octet_length(sa.cast(_v.value, sa.Text))), 0)
        left = conn.execute(
            sa.select(sa.func.count(), size).where(_v.board == number, _v.value.is_not(None))
        ).one()
        conn.execute(
            sa.update(board_events)
            .where(_v.board == number, _v.seq == found.seq)
            .values(count=left[0], bytes=left[1])
        )
        conn.execute(sa.update(boards).where(_b.number == number).values(compacted_to=found.seq))
    return int(emptied)


def _is_archived(found: Head, folder: Path) -> bool:
    """Whether the file of an archived board is there as it was written."""
    path = folder / f"{found.id}{_END}"
    return path.is_file() and sha256_of(path).hex() == found.archive_sha256


def _write(conn: sa.Connection, found: Head, path: Path) -> Archived:
    events = reading.events(conn, found.id, 0, _ALL)
    try:
        make_private(path.parent)
        write_whole(path, "".join(_lines(conn, found, events)))
        proven = _state(events_in(path))
        digest = sha256_of(path).hex()
    except (OSError, ValueError, KeyError) as error:
        raise _not_proven(found, f"its file cannot be written ({type(error).__name__})") from None
    live = reading.live(conn, found.id, expired=True)
    if not reading.same(proven, live):
        raise _not_proven(found, "the state in its file is not the live one")
    return Archived(found.id, path, len(events), digest)


def _not_proven(found: Head, what: str) -> AgentError:
    return AgentError(
        "M928",
        f"the board is not archived: {what}",
        where=f"board {found.id}",
        fix="free space in MEMOS_HOME, see V57 of the checklist, then run the command again",
    )


def _lines(conn: sa.Connection, found: Head, events: Iterable[Event]) -> Iterator[str]:
    s = spaces.c
    space = conn.execute(sa.select(s.name, s.owner, s.private).where(s.id == found.space)).one()
    about = {
        "format": FORMAT,
        "board": str(found.id),
        "goal": found.goal,
        "user": found.user,
        "agent": found.agent,
        "space": space.name,
        "private_of": space.owner if space.private else None,
        "seq": found.seq,
        "compacted_to": found.compacted_to,
        "opened_at": found.opened_at.isoformat(),
    }
    yield _line(about)
    for event in events:
        one = event.entry
        yield _line(
            {
                "seq": one.seq,
                "at": one.at.isoformat(),
                "user": one.user,
                "agent": one.agent,
                "level": one.level,
                "key": one.key,
                "item": one.item,
                "slot": event.slot,
                "strategy": one.strategy,
                "version": one.version,
                "value": one.value,
                "expires_at": None if one.expires_at is None else one.expires_at.isoformat(),
            }
        )


def _line(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def events_in(path: Path) -> Iterator[Event]:
    """Yield the events of an archived board.

    Raises:
        OSError, ValueError, KeyError: the file cannot be read, or is not such a file.
    """
    with path.open(encoding="utf-8") as file:
        next(file)
        for line in file:
            yield _event(json.loads(line))


def _event(said: Mapping[str, Any]) -> Event:
    ends = said["expires_at"]
    entry = Entry(
        level=said["level"],
        key=said["key"],
        item=said["item"],
        value=said["value"],
        version=said["version"],
        seq=said["seq"],
        at=datetime.fromisoformat(said["at"]),
        user=said["user"],
        agent=said["agent"],
        strategy=said["strategy"],
        expires_at=None if ends is None else datetime.fromisoformat(ends),
    )
    return Event(entry, entry.value is None, said["slot"])


def _state(events: Iterable[Event]) -> State:
    """Return the state after events, with what has expired."""
    slots: dict[str, Entry] = {}
    last: Entry | None = None
    for event in events:
        last = event.entry
        slots.pop(event.slot, None)
        if not event.removed:
            slots[event.slot] = event.entry
    seq = 0 if last is None else last.seq
    return State(seq, None if last is None else last.at, tuple(slots.values()))


def take_user_out(folder: Path, user: str) -> dict[str, str]:
    """Take an erased user out of archived boards: their events are emptied, their boards deleted.

    Returns:
        Id of each board whose file was changed -> sha256 of the file; "": it was deleted.
    """
    changed: dict[str, str] = {}
    for path in sorted(folder.glob(f"*{_END}")) if folder.is_dir() else ():
        about, *events = (json.loads(line) for line in path.read_text("utf-8").splitlines())
        if about["private_of"] == user:
            path.unlink()
            changed[about["board"]] = ""
            continue
        mine = [one for one in (about, *events) if one["user"] == user]
        for one in mine:
            one |= {"user": ERASED, "agent": ""} | (_GOAL if one is about else _EMPTY)
        if mine:
            text = "".join(map(_line, (about, *events)))
            write_whole(path, text)
            if path.stem == about["board"]:
                changed[about["board"]] = hashlib.sha256(text.encode()).hexdigest()
            else:
                changed.setdefault(about["board"], "")
    return changed


def note_changed(conn: sa.Connection, changed: Mapping[str, str]) -> None:
    """Write the sums of files of the archive that an erasure has changed."""
    for board, digest in changed.items():
        if digest:
            conn.execute(
                sa.update(boards).where(_b.id == UUID(board)).values(archive_sha256=digest)
            )
