"""Finish or undo what a crash interrupted in the archive.

A file at its original path stays there: memOS may be writing to it. A file in the archive is moved
back only by a command that names it.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import sqlalchemy as sa

from memos_assets.consolidate.archive import records, store
from memos_assets.consolidate.archive.manifests import Archived, read_archive
from memos_assets.errors import MemosAssetsError
from memos_assets.postgres.schema import tables

_INTERRUPTED = "; a run that was interrupted had"


@dataclass(frozen=True, slots=True)
class Repaired:
    """What became of one file.

    Attributes:
        name: of the file.
        became: its state; ``unfinished`` where somebody has to decide.
        said: one line for a person.
    """

    name: str
    became: Literal["not moved", "retired", "restored", "purged", "unfinished", "recorded"]
    said: str

    def __str__(self) -> str:
        return self.said


def repair(
    engine: sa.Engine,
    archive: Path,
    *,
    named: Collection[str] | None = None,
    roots: Sequence[Path] = (),
) -> list[Repaired]:
    """Finish or undo unfinished moves, and return one note for each; call it within `locked`.

    A manifest that is damaged, or that the bookkeeping tables do not confirm, is one note; the
    others go on.

    Args:
        engine: of the target database.
        archive: the folder.
        named: names that the command at hand was given; None if it is about all of them. The files
            of others are not moved, whatever state they are in.
        roots: as `records.doubt`.
    """
    said = [
        Repaired(
            entry.manifest.name,
            "recorded",
            f"{entry.manifest.name}: the manifest was written by a version that kept no digest; "
            f"its digest is {entry.manifest.digest[:16]} from now on",
        )
        for entry in records.adopt(engine, archive, roots)
    ]
    entries, unreadable = read_archive(archive)
    said += [Repaired("", "unfinished", str(records.damaged(what))) for what in unreadable]
    for entry in entries:
        moves = named is None or bool({entry.manifest.name, entry.folder.name} & set(named))
        try:
            said += _repair(engine, entry, roots, moves=moves)
        except (MemosAssetsError, OSError) as error:
            said.append(Repaired(entry.manifest.name, "unfinished", str(error)))
    _forget_lost(engine, archive, entries)
    return said


def _repair(
    engine: sa.Engine, entry: Archived, roots: Sequence[Path], *, moves: bool
) -> Iterator[Repaired]:
    name, state = entry.manifest.name, entry.manifest.state
    here, there = os.path.lexists(entry.file), os.path.lexists(entry.origin)
    back = there and (not here or entry.file.samefile(entry.origin))
    if state == "moving" and back:
        entry.file.unlink(missing_ok=True)
        store.forget_move(engine, entry)
        yield Repaired(name, "not moved", f"{name} was not moved, the file is at {entry.origin}")
    elif state == "restoring" and back:
        note = store.finish_restore(engine, entry)
        what = f"{name} is restored{_INTERRUPTED} moved it{'; ' if note else ''}{note}"
        yield Repaired(name, "restored", what)
    elif state == "purged":
        _follow(engine, entry)
    else:
        records.require_known(engine, entry, roots)
        yield from _repair_known(engine, entry, here=here, moves=moves)


def _repair_known(
    engine: sa.Engine, entry: Archived, *, here: bool, moves: bool
) -> Iterator[Repaired]:
    name, state = entry.manifest.name, entry.manifest.state
    if state == "moving" and here:
        what = store.in_the_way(entry)
        if what and not moves:
            yield Repaired(
                name,
                "unfinished",
                f"{name} is half moved ({what}); memos-assets retire {name} moves it back",
            )
            return
        store.finish_store(engine, entry)
        yield Repaired(name, "retired", f"{name} is retired{_INTERRUPTED} moved it")
    elif state in ("restoring", "purging") and here:
        store.stay_retired(engine, entry)
        yield Repaired(name, "retired", f"{name} stays retired; {state} it was interrupted")
    elif state == "purging":
        store.finish_purge(engine, entry)
        yield Repaired(name, "purged", f"{name} is purged{_INTERRUPTED} deleted it")
    elif state == "retired" and here:
        _follow(engine, entry)


def _follow(engine: sa.Engine, entry: Archived) -> None:
    """Have the tables say what the manifest says, where they say something else."""
    archived, source = tables.archived.c, tables.sources.c
    with engine.connect() as conn:
        state = conn.execute(
            sa.select(archived.state).where(archived.folder == str(entry.folder))
        ).scalar()
        place = conn.execute(
            sa.select(source.retired_to).where(source.source == entry.manifest.name)
        ).scalar()
    if entry.manifest.state == "purged":
        if state == "purging":
            records.enter(engine, entry, "purged")
    elif state != "retired" or (entry.manifest.is_source and place != str(entry.file)):
        store.stay_retired(engine, entry)


def _forget_lost(engine: sa.Engine, archive: Path, entries: Sequence[Archived]) -> None:
    """Remove rows of moves that ended before there was a manifest."""
    with engine.begin() as conn:
        lost = records.lost(conn, archive, entries)
        for folder in lost:
            conn.execute(
                sa.delete(tables.archived).where(
                    tables.archived.c.folder == str(folder),
                    tables.archived.c.state == "moving",
                    sa.literal(value=not (folder.is_dir() and any(folder.iterdir()))),
                )
            )
