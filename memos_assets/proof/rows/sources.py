"""V08 and V09: the pinned files themselves, their content and their layout."""

from collections.abc import Sequence
from contextlib import nullcontext, suppress

from memos_assets.consolidate.archive.manifests import is_purged
from memos_assets.consolidate.sources.accounted import Accounted, account
from memos_assets.consolidate.sources.acknowledged import Acknowledged
from memos_assets.consolidate.sources.pins import Pin, is_unchanged
from memos_assets.errors import SourceError
from memos_assets.finding import Finding
from memos_assets.sqlite import file as sqlite_file


def source_unchanged(pins: Sequence[Pin]) -> Finding:
    """V08: every file of a kind is as it was pinned; a retired one is read in the archive."""
    changed, purged = [], []
    for pin in pins:
        if not pin.origin.exists() and is_purged(pin.origin):
            purged.append(pin.source)
            continue
        try:
            unchanged = is_unchanged(pin)
        except SourceError as error:
            changed.append(f"{pin.source}: {error.what}")
            continue
        if not unchanged:
            changed.append(f"{pin.source}: {pin.origin.name} holds other rows than its pin")
    return Finding(
        not changed,
        expected=f"{len(pins)} files as they were pinned",
        observed=("; ".join(changed) or f"{len(pins) - len(purged)} unchanged")
        + (f", {', '.join(purged)} purged from the archive" if purged else ""),
        evidence={
            "files": [{"source": p.source, "pin": p.digest[:16]} for p in pins],
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def source_accounted_for(pins: Sequence[Pin], acknowledged: Sequence[Acknowledged] = ()) -> Finding:
    """V09: every table with rows and every column of a kind's files is in the catalog.

    Left out are those that somebody acknowledged, and tables of a full-text index over a table that
    is in the catalog: they hold nothing that its rows do not. The file is read as well as its
    pinned copy: a table that was added since is moved with it.
    """
    read = Accounted()
    for pin in pins:
        for path in (pin.path, pin.origin):
            # A file that is gone or cannot be read is a matter of V08.
            with suppress(SourceError) if path == pin.origin else nullcontext():
                if path == pin.path or path.exists():
                    with sqlite_file.opened(path) as connection:
                        _add(read, account(connection, pin.source, pin.kind, acknowledged))
    also = f", {len(read.known)} acknowledged" if read.known else ""
    return Finding(
        not read.left,
        expected="0 tables or columns left behind",
        observed=("; ".join(read.left) or "0") + also,
        evidence={
            "left_behind": read.left,
            "acknowledged": read.known,
            "indexes": read.indexes,
            "pins": {pin.source: pin.digest for pin in pins},
        },
    )


def _add(read: Accounted, more: Accounted) -> None:
    for name in ("left", "known", "indexes"):
        known = getattr(read, name)
        known += [what for what in getattr(more, name) if what not in known]
